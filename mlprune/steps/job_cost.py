"""The cost of a job: floating-point operations, passes over the weights, memory and disk space.

Costs follow from sizes alone: the recipe's sets and tasks, and the headers of the weight files. Estimates of memory
are upper bounds. Estimates of tokens and disk space are close.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mlprune.models.placement.memory_estimate import STATE_BYTES, Footprint

SMALL_JOB_BYTES = 64 * 2**20
"""Memory that any job may use: tables, tokenizers, Parquet buffers."""
SMALL_JOB_DISK_BYTES = 20_000.0
"""Disk space of a job that writes nothing but a record."""
BATCHES_IN_FLIGHT = 2
"""Batches in memory per batch in computation."""


class SetSize(NamedTuple):
    """Upper bounds on the size of a demonstration set."""

    n_tokens: int
    """Padding included."""
    n_demonstrations: int


SetSizes = Mapping[str, SetSize]
"""Demonstration set id -> size."""

EMPTY_SET = SetSize(0, 0)


def most_demonstrations(sets: SetSizes) -> int:
    """Return the number of demonstrations of the largest of some sets."""
    return max((size.n_demonstrations for size in sets.values()), default=0)


@dataclass(frozen=True)
class JobCost:
    """What one job needs from the worker that runs it."""

    step: str
    flops: float = 0.0
    n_passes: float = 0.0
    """Passes over all weights of the blocks. An offloaded model reads them from disk in each pass."""
    fixed_bytes: int = SMALL_JOB_BYTES
    """Memory in addition to the weights, for any number of threads, if the model is in main memory."""
    thread_bytes: int = 0
    """Further memory per thread."""
    device_fixed_bytes: int = 0
    """Part of `fixed_bytes` that is on the accelerator if the model is."""
    device_thread_bytes: int = 0
    """Part of `thread_bytes` that is on the accelerator if the model is."""
    transfer_bytes: int = 0
    """Main memory for what is moved to or from the accelerator if the model is there."""
    disk_bytes: float = SMALL_JOB_DISK_BYTES
    """Disk space in the store, before compression."""
    n_tokens: float = 0.0
    """Tokens whose hidden states pass from shard to shard, if there are several."""
    result_bytes: float = 0.0
    """Results of the blocks that travel with them."""
    runs_model: bool = False
    """Whether the job runs the model and so needs its memory in every process of the chain; otherwise in
    one of them."""
    is_shared: bool = False
    """Whether idle replicas compute a part of the job."""

    def memory_bytes(self, n_threads: int) -> int:
        """Memory in addition to the process and the weights, if the model is in main memory."""
        return self.fixed_bytes + n_threads * self.thread_bytes

    def host_bytes(self, n_threads: int) -> int:
        """Main memory in addition to the process, if the model is on accelerators."""
        return self.memory_bytes(n_threads) - self.device_bytes(n_threads) + self.transfer_bytes

    def forwarded_bytes(self, sizes: Footprint, n_shards: int) -> float:
        """Bytes that travel between the actors of a replica; every shard adds its part of the results."""
        states = self.n_tokens * sizes.hidden * sizes.itemsize
        return 0.0 if n_shards == 1 else (n_shards - 1) * states + (n_shards + 1) / 2 * self.result_bytes

    def device_bytes(self, n_threads: int) -> int:
        """Memory of each accelerator in addition to the weights, if the model is on accelerators."""
        return self.device_fixed_bytes + n_threads * self.device_thread_bytes


def n_block_weights(sizes: Footprint) -> int:
    """Prunable weights of all blocks, if every block is as large as the largest."""
    return len(sizes.blocks) * sum(sizes.prunable)


def block_flops(sizes: Footprint, n_tokens: float) -> float:
    """Floating-point operations of one pass of some tokens through all blocks."""
    return 2.0 * n_tokens * n_block_weights(sizes)


def batch_bytes(sizes: Footprint, batch_tokens: int) -> int:
    """Memory of the batches that pass through a block."""
    return BATCHES_IN_FLIGHT * batch_tokens * sizes.widest * STATE_BYTES
