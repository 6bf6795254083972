"""Capacity of the nodes of a cluster, and the pool of a run that fits on them."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlprune.counted import counted
from mlprune.models.placement.budget import NO_DEVICES, DeviceBudget, MemoryBudget
from mlprune.steps.inputs import Accelerators

LEAST_CPUS = 1e-4
"""Smallest fraction of a CPU that Ray assigns."""
GIB = 2**30
GROUPS_IN_FLIGHT = 4
"""Groups of batches that travel along a chain of shard actors at once; a group has one batch per thread of an actor."""
OFFLOADED_GROUPS_IN_FLIGHT = 2
"""The same for an offloaded model, where a group is as large as `GROUP_BYTES` allows."""


@dataclass(frozen=True)
class Coordinators:
    """Further actors, which need neither CPU nor accelerator."""

    n: int = 0
    memory_bytes: int = 0
    """Memory of each of them; 0 if there are none."""


NO_COORDINATORS = Coordinators()


@dataclass(frozen=True)
class Gpu:
    """One accelerator of a machine."""

    memory_bytes: int
    """Free memory; 0 if it is unknown."""
    name: str = ""
    """Name of the model, as its driver reports it; empty if it is unknown."""
    has_bfloat16: bool = True
    """Whether it computes in bfloat16; assumed if it is unknown."""


@dataclass(frozen=True)
class Node:
    """Resources of one machine for actors."""

    n_cpus: float
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def n_gpus(self) -> int:
        """Number of accelerators."""
        return len(self.gpus)

    @property
    def gpu_bytes(self) -> int:
        """Free memory of the smallest accelerator; 0 without one, or if it is unknown."""
        return min((gpu.memory_bytes for gpu in self.gpus), default=0)


@dataclass(frozen=True)
class Actor:
    """Resources that one actor needs on its node."""

    n_cpus: float
    n_gpus: float
    memory_bytes: int


@dataclass(frozen=True)
class Pool:
    """The workers of a run, and the resources of each of their actors."""

    n_workers: int
    n_shards: int
    n_cpus: float
    """CPUs of each actor; a fraction if there are fewer CPUs than actors."""
    n_gpus: float
    threads: int
    """Pieces of work that an actor runs at the same time."""
    model_threads: int
    """The same for jobs that run the model; two feed one accelerator."""
    memory_bytes: int
    """Resident memory of each actor's whole process."""
    working_bytes: int
    """Part of `memory_bytes` for the jobs, without the process itself and the weights; memory of accelerators is in
    `accelerators`."""
    coordinator_bytes: int
    """Memory of a worker that coordinates shards in other actors; 0 if there is one shard."""
    resident: tuple[int, ...]
    """Number of blocks of each shard that stay in memory. The other blocks are read from disk for each pass."""
    n_blocks: int
    device_blocks: int = 0
    """Number of blocks of a replica on accelerators."""
    device_weight_bytes: int = 0
    """Weights on the fullest accelerator of an actor."""
    accelerators: DeviceBudget = NO_DEVICES
    """What each actor may use of its accelerators."""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    """Label -> condition on its value, of the nodes that actors run on."""

    @property
    def is_offloaded(self) -> bool:
        """Whether some blocks are read from disk for each pass."""
        return sum(self.resident) < self.n_blocks

    @property
    def streams_experts(self) -> bool:
        """Whether a shard has no room for a whole block, and reads experts when they run."""
        return 0 in self.resident

    @property
    def parallel_products(self) -> float:
        """Matrix products that an actor computes at the same time: on its accelerators, or one per thread."""
        return self.n_gpus or self.threads

    @property
    def groups_in_flight(self) -> int:
        """Groups of batches that travel along the shards of one replica at once."""
        return OFFLOADED_GROUPS_IN_FLIGHT if self.is_offloaded else GROUPS_IN_FLIGHT

    @property
    def n_actors(self) -> int:
        """Actors with weights."""
        return self.n_workers * self.n_shards

    @property
    def actor(self) -> Actor:
        """Resources of each actor on its node."""
        return Actor(self.n_cpus, self.n_gpus, self.memory_bytes)

    @property
    def budget(self) -> MemoryBudget:
        """Memory of each actor."""
        return MemoryBudget(self.memory_bytes, self.working_bytes)


def format_node(node: Node) -> str:
    """Format the resources of a node, such as `16 CPUs, 70.0 GiB, 1 A100-80GB`."""
    texts = [f"{node.n_cpus:g} CPU{'' if node.n_cpus == 1 else 's'}", f"{node.memory_bytes / 2**30:.1f} GiB"]
    if node.gpus:
        noun = f"GPU{'' if node.n_gpus == 1 else 's'} of {node.gpu_bytes / 2**30:.1f} GiB"
        texts.append(f"{node.n_gpus} {node.gpus[0].name or noun}")
    return ", ".join(texts)


def accelerators_of(nodes: Sequence[Node]) -> Accelerators:
    """Return whether nodes have accelerators, and what these compute in."""
    gpus = [gpu for node in nodes for gpu in node.gpus]
    return Accelerators(bool(gpus), all(gpu.has_bfloat16 for gpu in gpus))


def has_room(nodes: Sequence[Node], actor: Actor, n: int, coordinators: Coordinators = NO_COORDINATORS) -> bool:
    """Whether n equal actors and some coordinators fit on the nodes."""
    free_bytes, n_unplaced = [], n
    for node in nodes:
        n_placed = min(n_unplaced, n_fitting(node, actor))
        n_unplaced -= n_placed
        free_bytes.append(node.memory_bytes - n_placed * actor.memory_bytes)
    if n_unplaced or not coordinators.memory_bytes:
        return n_unplaced == 0
    return sum(memory // coordinators.memory_bytes for memory in free_bytes) >= coordinators.n


def max_cpus(nodes: Sequence[Node], n: int) -> float:
    """Most CPUs that each of n actors can have: a whole number, or a fraction if there are fewer CPUs than actors."""
    counts = Counter(node.n_cpus for node in nodes)
    if _n_with_cpus(counts, LEAST_CPUS) < n:
        return 0.0
    shares = {n_cpus / k for n_cpus in counts for k in range(1, n + 1)}
    offers = {float(int(share)) if share >= 1 else round(share - LEAST_CPUS / 2, 4) for share in shares}
    descending = sorted((cpus for cpus in offers if cpus > 0), reverse=True)
    position = bisect_left(descending, n, key=lambda cpus: _n_with_cpus(counts, cpus))
    return descending[position] if position < len(descending) else 0.0


def max_memory(nodes: Sequence[Node], actor: Actor, n: int, coordinators: Coordinators = NO_COORDINATORS) -> int:
    """Most memory that each of n actors with the CPUs and accelerators of `actor` can have; 0 if they do not fit."""
    reserved = coordinators.n * coordinators.memory_bytes
    offers = {node.memory_bytes - taken for node in nodes for taken in (0, reserved)}
    shares = sorted({int(offer // k) for offer in offers if offer > 0 for k in range(1, n + 1)}, reverse=True)
    actors = (Actor(actor.n_cpus, actor.n_gpus, share) for share in shares)
    return next((actor.memory_bytes for actor in actors if has_room(nodes, actor, n, coordinators)), 0)


def n_gpu_shares(nodes: Sequence[Node], n_gpus: float) -> int:
    """Number of actors that can have n_gpus accelerators, or this fraction of one, each."""
    return sum(int(node.n_gpus / n_gpus + 1e-9) for node in nodes)


def n_fitting(node: Node, actor: Actor) -> int:
    """Number of equal actors that fit on a node."""
    resources = (
        (node.n_cpus, actor.n_cpus),
        (node.n_gpus, actor.n_gpus),
        (node.memory_bytes, actor.memory_bytes),
    )
    return min((int(offered / needed + 1e-9) for offered, needed in resources if needed), default=0)


def format_pool(pool: Pool) -> str:
    """Format a pool as one line."""
    shards = counted(pool.n_shards, "shard") + ("" if pool.n_shards == 1 else " each")
    gpus = f", {pool.n_gpus:g} GPU" if pool.n_gpus else ""
    actor = f"{counted(pool.threads, 'thread')}, {pool.memory_bytes / GIB:.2f} GiB{gpus}"
    return f"{counted(pool.n_workers, 'replica')} of {shards}; each actor has {actor}"


def _n_with_cpus(counts: Mapping[float, int], n_cpus: float) -> int:
    """Number of actors with some CPUs, on nodes that are counted by their CPUs."""
    return sum(n * int(offered / n_cpus + 1e-9) for offered, n in counts.items())
