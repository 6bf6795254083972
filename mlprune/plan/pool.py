"""The pool of a run: replicas, shards, threads and memory, from what a recipe says and what the nodes have.

`auto` means: as few shards as hold the model in the accelerators' memory; else in memory; else, some of its blocks left
on disk, as few as can be run at all. Replicas fill the rest, as far as there are jobs for them. A pure function: what
nodes there are is found out by whoever is connected to them, and what jobs take is in `cost.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from mlprune.errors import BadInputError
from mlprune.models.block_ranges import plan_spans
from mlprune.models.placement.budget import MemoryBudget, resident_blocks, smallest_budget
from mlprune.models.placement.memory_estimate import GROUP_BYTES, PROCESS_BYTES, Footprint, shard_bytes
from mlprune.plan.job_costs import makespan, peak_bytes
from mlprune.plan.node_capacity import Actor, Node, has_room, max_cpus, max_memory, n_gpu_shares
from mlprune.recipe import ComputeConfig
from mlprune.steps.job_cost import JobCost
from mlprune.steps.observe.cost import COORDINATING_BYTES

GIB = 2**30
GPU_SHARE = 0.9
"""Share of an accelerator's memory that is planned with; its driver and libraries take some."""
MAKESPAN_TOLERANCE = 1.1
"""Pools whose products take this much longer than those of the best are as good: replicas share the small work too."""
GROUPS_IN_FLIGHT = 4
"""Groups of batches that travel along a chain of shard actors at once; a group has one batch per thread of an actor."""
OFFLOADED_GROUPS_IN_FLIGHT = 2
"""The same for an offloaded model, where a group is as large as `GROUP_BYTES` allows."""


@dataclass(frozen=True)
class Pool:
    """How many workers a run gets, and what each of their actors may use."""

    n_workers: int
    n_shards: int
    n_cpus: float
    """CPUs of each actor, a part of one where there are fewer CPUs than actors."""
    n_gpus: float
    threads: int
    """Pieces an actor works on at a time."""
    memory_bytes: int
    """Resident memory of each actor, all of its process counted."""
    working_bytes: int
    """That part of it which is not for the process itself and for weights."""
    beside_bytes: int
    """Memory of a worker whose shards are in actors of their own; 0 if there is one shard."""
    resident: tuple[int, ...]
    """Blocks of each shard that stay in memory; the others are read from disk when their turn comes."""
    n_blocks: int

    @property
    def is_offloaded(self) -> bool:
        """Whether blocks are read from disk again and again."""
        return sum(self.resident) < self.n_blocks

    @property
    def groups_in_flight(self) -> int:
        """Groups of batches that travel along the shards of one replica at once."""
        return OFFLOADED_GROUPS_IN_FLIGHT if self.is_offloaded else GROUPS_IN_FLIGHT

    @property
    def budget(self) -> MemoryBudget:
        """Memory of each actor."""
        return MemoryBudget(self.memory_bytes, self.working_bytes)


class _Holder(Enum):
    """Where all of a model's weights are."""

    ACCELERATORS = 0
    MEMORY = 1
    DISK = 2


def plan_pool(compute: ComputeConfig, sizes: Footprint, nodes: Sequence[Node], *, costs: Sequence[JobCost]) -> Pool:
    """The pool of a run.

    Args:
        compute: what the recipe says.
        sizes: of the model.
        nodes: what there is.
        costs: what each job takes.
    Raises:
        BadInputError: nothing of the kind has room; what would have is named, as a line of the recipe.
    """
    planning = _Planning(compute, sizes, tuple(nodes), tuple(costs))
    pool = planning.pool()
    if pool is None:
        raise _refusal(planning)
    return pool


@dataclass(frozen=True)
class _Planning:
    """One recipe, one model, one cluster."""

    compute: ComputeConfig
    sizes: Footprint
    all_nodes: tuple[Node, ...]
    costs: tuple[JobCost, ...]

    @property
    def n_gpus(self) -> float:
        """Accelerators of an actor."""
        if self.compute.gpus_per_actor != "auto":
            return self.compute.gpus_per_actor
        return 1.0 if any(node.n_gpus for node in self.all_nodes) else 0.0

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those that actors can be placed on; a head without CPUs is none of them."""
        return tuple(node for node in self.all_nodes if node.n_cpus > 0 and node.n_gpus >= min(self.n_gpus, 1))

    @property
    def shard_counts(self) -> range:
        """Shards that may be tried, fewest first."""
        given, most = self.compute.shards, len(self.sizes.blocks)
        return range(1, most + 1) if given == "auto" else range(given, given + 1)

    def pool(self) -> Pool | None:
        """The first kind of pool that finds room, of nearly equal ones the one of most replicas; None if none does."""
        for holder in _Holder:
            for n_shards in self.shard_counts:
                found = list(self._pools(n_shards, holder))
                if found:
                    enough = min(map(self._seconds, found)) * MAKESPAN_TOLERANCE
                    return next(one for one in found if self._seconds(one) <= enough)
        return None

    def _seconds(self, pool: Pool) -> float:
        """How long the products take, in some unit."""
        return makespan(self.costs, pool.n_workers) / pool.threads

    def _pools(self, n_shards: int, holder: _Holder) -> Iterator[Pool]:
        """Pools that find room, one for each number of replicas, most replicas first."""
        given = self.compute.replicas
        counts = range(self._most_replicas(n_shards, holder), 0, -1) if given == "auto" else (given,)
        for n_workers in counts:
            n_cpus = max_cpus(self.nodes, n_workers * n_shards)
            for threads in range(max(1, int(n_cpus)), 0, -1) if n_cpus else ():
                pool = self._sized(n_workers, n_shards, min(n_cpus, float(threads)), holder=holder)
                if pool is not None:
                    yield pool
                    break

    def _most_replicas(self, n_shards: int, holder: _Holder) -> int:
        """As many as there are accelerators or CPUs for; where blocks are read from disk, one a node."""
        if self.n_gpus:
            n_places = n_gpu_shares(self.nodes, self.n_gpus)
        elif holder is _Holder.DISK:
            n_places = len(self.nodes)
        else:
            n_places = int(sum(node.n_cpus for node in self.nodes))
        return max(1, n_places // n_shards)

    def _sized(self, n_workers: int, n_shards: int, n_cpus: float, *, holder: _Holder) -> Pool | None:
        """A pool with the memory it was given, needs, or finds; None if that is not enough or has no room."""
        threads, n_actors = max(1, int(n_cpus)), n_workers * n_shards
        least = self.least_bytes(n_shards, threads, holder=holder)
        if least is None:
            return None
        beside = self.beside_bytes(n_shards, threads)
        others = {"n_beside": n_workers if beside else 0, "beside_bytes": beside}
        memory = least
        if self.compute.memory_gib_per_actor != "auto":
            memory = int(self.compute.memory_gib_per_actor * GIB)
        elif holder is _Holder.DISK:
            memory = max_memory(self.nodes, Actor(n_cpus, self.n_gpus, 0), n_actors, **others)
        actor = Actor(n_cpus, self.n_gpus, memory)
        if memory < least or not has_room(self.nodes, actor, n_actors, **others):
            return None
        working = self.working_bytes(n_shards, threads, holder=holder)
        room = MemoryBudget(memory + self._gpu_room(threads), working)
        resident = [resident_blocks(self.sizes, span, room) for span in self._spans(n_shards)]
        return Pool(
            n_workers,
            n_shards,
            n_cpus,
            self.n_gpus,
            threads=threads,
            memory_bytes=memory,
            working_bytes=working,
            beside_bytes=beside,
            resident=tuple(resident),
            n_blocks=len(self.sizes.blocks),
        )

    def least_bytes(self, n_shards: int, threads: int, *, holder: _Holder) -> int | None:
        """Memory an actor needs at least; None if the accelerators cannot hold what they should."""
        working = self.working_bytes(n_shards, threads, holder=holder)
        spans, gpu_room = self._spans(n_shards), self._gpu_room(threads)
        if holder is _Holder.DISK:
            return max(smallest_budget(self.sizes, span, working_bytes=working) for span in spans)
        held = max(shard_bytes(self.sizes, span) for span in spans)
        if holder is _Holder.ACCELERATORS and held > gpu_room:
            return None
        return PROCESS_BYTES + working + max(0, held - gpu_room)

    def smallest_bytes(self) -> int:
        """Memory of an actor that works on one piece at a time and leaves on disk what it can."""
        found = (self.least_bytes(n, 1, holder=holder) for n in self.shard_counts for holder in _Holder)
        return min(least for least in found if least is not None)

    def working_bytes(self, n_shards: int, threads: int, *, holder: _Holder) -> int:
        """What the jobs take of an actor beside its process and its weights."""
        costs = self.costs if n_shards == 1 else tuple(cost for cost in self.costs if cost.runs_model)
        return peak_bytes(costs, threads) + (GROUP_BYTES if holder is _Holder.DISK else 0)

    def beside_bytes(self, n_shards: int, threads: int) -> int:
        """Memory of a worker whose shards are elsewhere."""
        if n_shards == 1:
            return 0
        alone = tuple(cost for cost in self.costs if not cost.runs_model)
        return PROCESS_BYTES + max(COORDINATING_BYTES, peak_bytes(alone, threads))

    def _gpu_room(self, threads: int) -> int:
        """Memory for weights in the accelerators of one actor; 0 where there are none or their size is not known."""
        a_gpu = min((node.gpu_bytes for node in self.nodes), default=0) if self.n_gpus else 0
        if not a_gpu:
            return 0
        working = self.working_bytes(len(self.sizes.blocks), threads, holder=_Holder.MEMORY)
        return max(0, int(a_gpu * self.n_gpus * GPU_SHARE) - working)

    def _spans(self, n_shards: int) -> tuple[range, ...]:
        return plan_spans(len(self.sizes.blocks), n_shards)


def _refusal(planning: _Planning) -> BadInputError:
    """Why there is no pool, with the line of the recipe that would give one."""
    needed = _gib_up(planning.smallest_bytes())
    changes: list[dict[str, object]] = [{"memory_gib_per_actor": needed}, {"memory_gib_per_actor": "auto"}]
    changes += [{"gpus_per_actor": "auto"}, {"replicas": 1}, {"shards": "auto"}, {"replicas": 1, "shards": "auto"}]
    changes.append(dict.fromkeys(("replicas", "shards", "memory_gib_per_actor", "gpus_per_actor"), "auto"))
    fitting = (planning.compute.model_copy(update=change) for change in changes)
    line = next((one for one in fitting if _Planning(one, *_rest(planning)).pool()), None)
    return BadInputError(
        "the model does not fit into what there is",
        expected=recipe_line(line) if line else f"a machine with {needed} GiB of free memory for an actor",
        got=f"{recipe_line(planning.compute)} on {_in_words(planning.all_nodes)}; an actor needs {needed} GiB at least",
    )


def _rest(planning: _Planning) -> tuple[Footprint, tuple[Node, ...], tuple[JobCost, ...]]:
    return planning.sizes, planning.all_nodes, planning.costs


def recipe_line(compute: ComputeConfig) -> str:
    """The section `compute` as a line of a recipe, without what is `auto`."""
    said = {key: value for key, value in compute.model_dump().items() if value != "auto"}
    return f"compute: {{{', '.join(f'{key}: {value}' for key, value in said.items())}}}"


def _in_words(nodes: Sequence[Node]) -> str:
    """What the nodes have, equal ones counted."""
    kinds = dict.fromkeys(nodes)
    words = []
    for kind in kinds:
        gpus = f", {kind.n_gpus:g} GPUs of {kind.gpu_bytes / GIB:.1f} GiB" if kind.n_gpus else ""
        words.append(f"{nodes.count(kind)} x ({kind.n_cpus:g} CPUs, {kind.memory_bytes / GIB:.1f} GiB{gpus})")
    return " + ".join(words) or "no node"


def _gib_up(n_bytes: int) -> float:
    """GiB, rounded up to tenths: so much is enough."""
    return -(-n_bytes * 10 // GIB) / 10
