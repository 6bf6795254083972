"""The pool of a run: replicas, shards, threads and memory of its workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlprune.models.placement.budget import MemoryBudget
from mlprune.models.placement.device_budget import NO_DEVICES, DeviceBudget
from mlprune.plan.node_capacity import Actor

GIB = 2**30
GROUPS_IN_FLIGHT = 4
"""Groups of batches that travel along a chain of shard actors at once; a group has one batch per thread of an actor."""
OFFLOADED_GROUPS_IN_FLIGHT = 2
"""The same for an offloaded model, where a group is as large as `GROUP_BYTES` allows."""


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
