"""Plan the pool of a run: shards, replicas, and the resources of each actor.

`auto` takes as few shards as possible: first with all weights in the memory of the accelerators, then in main memory,
then with some blocks offloaded to disk. Replicas use the remaining resources as long as there are jobs for them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from mlprune.errors import BadInputError
from mlprune.models.block_ranges import plan_spans
from mlprune.models.placement.memory_estimate import PROCESS_BYTES, Footprint, gib_rounded_up
from mlprune.planning.resources.actor_memory import (
    ActorGpus,
    ActorMemory,
    StepLoad,
    WeightLocation,
    plan_actor_memory,
    step_loads,
)
from mlprune.planning.resources.node_capacity import (
    GIB,
    Actor,
    Coordinators,
    Node,
    Pool,
    accelerators_of,
    format_node,
    has_room,
    max_cpus,
    max_memory,
    n_gpu_shares,
)
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.inputs import resolved_device
from mlprune.steps.job import JobCost
from mlprune.steps.observe.dense_pass import COORDINATING_BYTES

MAKESPAN_TOLERANCE = 1.1
"""Pools up to this much slower than the fastest count as equal; more replicas also share the small jobs."""


@dataclass(frozen=True)
class _Planning:
    """The search for a pool."""

    compute: ComputeConfig
    sizes: Footprint
    all_nodes: tuple[Node, ...]
    costs: tuple[JobCost, ...]
    _memory: dict[tuple[int, int, WeightLocation], ActorMemory | None] = field(default_factory=dict, init=False)
    """Shards, threads, location -> memory of the actors that were planned."""

    @cached_property
    def n_gpus(self) -> float:
        """Accelerators of an actor."""
        if self.compute.gpus_per_actor != "auto":
            return self.compute.gpus_per_actor
        return 1.0 if resolved_device(self.compute, accelerators_of(self.all_nodes)) == "cuda" else 0.0

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Nodes that can run an actor; a head node without CPUs cannot."""
        return tuple(node for node in self.all_nodes if node.n_cpus > 0 and node.n_gpus >= min(self.n_gpus, 1))

    @property
    def shard_counts(self) -> range:
        """Possible numbers of shards, fewest first."""
        given, most = self.compute.shards, len(self.sizes.blocks)
        counts = range(1, most + 1) if given == "auto" else range(given, given + 1)
        return range(counts.start, min(counts.stop, 2)) if self.needs_whole else counts

    @cached_property
    def needs_whole(self) -> bool:
        """Whether a job needs the whole model in the memory of one shard."""
        return any(cost.is_whole for cost in self.costs)

    @property
    def locations(self) -> tuple[WeightLocation, ...]:
        """Possible locations of the weights, the fastest first."""
        return tuple(one for one in WeightLocation if one is not WeightLocation.DISK or not self.needs_whole)

    def pool(self) -> Pool | None:
        """The first pool that fits, or None. Among nearly equal pools, the one with the most replicas."""
        for location in self.locations:
            for n_shards in self.shard_counts:
                pools = list(self._pools(n_shards, location))
                if pools:
                    limit = min(map(self._makespan, pools)) * MAKESPAN_TOLERANCE
                    return next(pool for pool in pools if self._makespan(pool) <= limit)
        return None

    def _makespan(self, pool: Pool) -> float:
        """Floating-point operations of the busiest accelerator or thread."""
        return sum(max(total / pool.n_workers, most) for total, most in self._loads) / pool.parallel_products

    @cached_property
    def _loads(self) -> tuple[StepLoad, ...]:
        """Floating-point operations of each step."""
        return step_loads(self.costs)

    def _pools(self, n_shards: int, location: WeightLocation) -> Iterator[Pool]:
        """Pools that fit, one per number of replicas, most replicas first."""
        given = self.compute.replicas
        counts = range(self._most_replicas(n_shards, location), 0, -1) if given == "auto" else (given,)
        for n_workers in counts:
            n_cpus = max_cpus(self.nodes, n_workers * n_shards)
            for threads in range(max(1, int(n_cpus)), 0, -1) if n_cpus else ():
                pool = self._sized(n_workers, n_shards, min(n_cpus, float(threads)), location=location)
                if pool is not None:
                    yield pool
                    break

    def _most_replicas(self, n_shards: int, location: WeightLocation) -> int:
        """As many as accelerators or CPUs allow; for an offloaded model, one per node."""
        if self.n_gpus:
            n_actors = n_gpu_shares(self.nodes, self.n_gpus)
        elif location is WeightLocation.DISK:
            n_actors = len(self.nodes)
        else:
            n_actors = int(sum(node.n_cpus for node in self.nodes))
        return max(1, n_actors // n_shards)

    def _sized(self, n_workers: int, n_shards: int, n_cpus: float, *, location: WeightLocation) -> Pool | None:
        """A pool with the memory that the recipe sets, that it needs, or that is free; None if it does not fit."""
        threads, n_actors = max(1, int(n_cpus)), n_workers * n_shards
        plan = self._actor_memory(n_shards, threads, location=location)
        if plan is None:
            return None
        least, coordinator_bytes = plan.least_bytes, self.coordinator_bytes(n_shards)
        coordinators = Coordinators(n_workers, coordinator_bytes)
        memory = least
        if self.compute.memory_gib_per_actor != "auto":
            memory = int(self.compute.memory_gib_per_actor * GIB)
        elif location is WeightLocation.DISK:
            memory = max_memory(self.nodes, Actor(n_cpus, self.n_gpus, 0), n_actors, coordinators)
        actor = Actor(n_cpus, self.n_gpus, memory)
        if memory < least or not has_room(self.nodes, actor, n_actors, coordinators):
            return None
        return Pool(
            n_workers,
            n_shards,
            n_cpus,
            self.n_gpus,
            threads=threads,
            model_threads=plan.model_threads,
            memory_bytes=memory,
            working_bytes=plan.working_bytes,
            coordinator_bytes=coordinator_bytes,
            resident=plan.resident_blocks(memory),
            n_blocks=len(self.sizes.blocks),
            device_blocks=plan.device_blocks,
            device_weight_bytes=plan.device_weight_bytes,
            accelerators=plan.accelerators,
            node_labels=self.compute.node_labels,
        )

    def smallest_bytes(self) -> int:
        """Least memory of an actor with one thread, over all locations of the weights."""
        counts = self.shard_counts or (1,)
        plans = (self._actor_memory(n, 1, location=location) for n in counts for location in self.locations)
        return min(plan.least_bytes for plan in plans if plan is not None)

    def coordinator_bytes(self, n_shards: int) -> int:
        """Memory of a worker that coordinates shards in other actors; 0 if there is one shard."""
        return 0 if n_shards == 1 else PROCESS_BYTES + COORDINATING_BYTES

    def _actor_memory(self, n_shards: int, threads: int, *, location: WeightLocation) -> ActorMemory | None:
        """The memory of the actors with weights, which also run the jobs that do not run the model."""
        key = (n_shards, threads, location)
        if key not in self._memory:
            spans = plan_spans(len(self.sizes.blocks), n_shards)
            gpus = ActorGpus(self.n_gpus, min((node.gpu_bytes for node in self.nodes), default=0) if self.n_gpus else 0)
            self._memory[key] = plan_actor_memory(
                self.sizes, spans, location, costs=self.costs, threads=threads, gpus=gpus
            )
        return self._memory[key]


def plan_pool(compute: ComputeConfig, sizes: Footprint, nodes: Sequence[Node], *, costs: Sequence[JobCost]) -> Pool:
    """Plan the pool of a run.

    Args:
        compute: from the recipe.
        sizes: of the recipe's model.
        nodes: resources of all nodes.
        costs: of all jobs.
    Raises:
        BadInputError: no pool fits; the message has a line for the recipe with which one would.
    """
    planning = _Planning(compute, sizes, tuple(nodes), tuple(costs))
    pool = planning.pool()
    if pool is None:
        raise _refusal(planning)
    return pool


def recipe_line(compute: ComputeConfig) -> str:
    """The section `compute` as one line of a recipe, without the keys at their default."""
    keys = compute.model_dump(exclude_defaults=True)
    return f"compute: {{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}"


def _refusal(planning: _Planning) -> BadInputError:
    """The error for a recipe without a pool, with a changed line of the recipe that has one."""
    needed = gib_rounded_up(planning.smallest_bytes(), digits=1)
    changes: list[dict[str, object]] = [{"memory_gib_per_actor": needed}, {"memory_gib_per_actor": "auto"}]
    changes += [{"gpus_per_actor": "auto"}, {"replicas": 1}, {"shards": "auto"}, {"replicas": 1, "shards": "auto"}]
    changes.append({"device": "cpu", "gpus_per_actor": "auto"})
    changes.append(dict.fromkeys(("replicas", "shards", "memory_gib_per_actor", "gpus_per_actor"), "auto"))
    candidates = (planning.compute.model_copy(update=change) for change in changes)
    fitting = next((compute for compute in candidates if replace(planning, compute=compute).pool()), None)
    counts = Counter(planning.all_nodes)
    nodes = " + ".join(f"{n} x ({format_node(node)})" for node, n in counts.items()) or "no node"
    return BadInputError(
        "the model does not fit on the available machines",
        expected=recipe_line(fitting) if fitting else f"a machine with {needed} GiB of free memory for an actor",
        got=f"{recipe_line(planning.compute)} on {nodes}; an actor needs at least {needed} GiB",
        **({"reason": "a job needs the whole model in the memory of one shard"} if planning.needs_whole else {}),
    )
