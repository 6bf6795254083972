"""Costs of the jobs that observe the dense model."""

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, SetSize, batch_bytes, block_flops

STATISTICS_BYTES = 3 * 2**25
"""Statistics of one part in memory: as they arrive, joined, and as a file."""
COORDINATING_BYTES = SMALL_JOB_BYTES + STATISTICS_BYTES
"""Memory of a worker whose model runs in other processes."""
COPIES = 3
"""Copies of the raw activations of one part in memory: as they arrive, joined, and as files."""
COUNT_DIGITS = 6
"""Bytes of one count in a record, as text."""


def statistics_cost(step: str, sizes: Footprint, size: SetSize, *, batch_tokens: int) -> JobCost:
    """Cost of observing statistics of some demonstrations."""
    n_sums = size.n_demonstrations * sizes.inputs * len(sizes.blocks)
    return JobCost(
        step,
        flops=block_flops(sizes, size.n_tokens),
        n_passes=1,
        fixed_bytes=max(COORDINATING_BYTES, SMALL_JOB_BYTES + 5 * n_sums),  # float32, and a quarter for open files
        thread_bytes=batch_bytes(sizes, batch_tokens),
        device_thread_bytes=batch_bytes(sizes, batch_tokens),
        disk_bytes=4.0 * n_sums,
        n_tokens=size.n_tokens,
        result_bytes=4.0 * n_sums,
        runs_model=True,
    )


def one_pass_cost(step: str, sizes: Footprint, size: SetSize, *, batch_tokens: int, disk_bytes: float) -> JobCost:
    """Cost of one pass over a set of which only sums are stored."""
    return JobCost(
        step,
        flops=block_flops(sizes, size.n_tokens),
        n_passes=1,
        thread_bytes=batch_bytes(sizes, batch_tokens),
        device_thread_bytes=batch_bytes(sizes, batch_tokens),
        disk_bytes=disk_bytes,
        n_tokens=size.n_tokens,
        runs_model=True,
    )


def activations_cost(
    step: str,
    sizes: Footprint,
    size: SetSize,
    *,
    part_lengths: list[int],
    stored_bytes: int,
    item_bytes: int,
    batch_tokens: int,
) -> JobCost:
    """Cost of storing raw activations.

    Args:
        size: of the whole set.
        part_lengths: demonstrations in each part.
        stored_bytes: of all activations, as stored.
        item_bytes: of one stored activation.
    """
    n_demonstrations = sum(part_lengths)
    largest_share = max(part_lengths, default=0) / max(1, n_demonstrations)
    n_tokens = size.n_tokens * n_demonstrations / max(1, size.n_demonstrations)
    return JobCost(
        step,
        flops=2 * block_flops(sizes, n_tokens),  # an observed block runs twice
        n_passes=len(part_lengths),
        fixed_bytes=SMALL_JOB_BYTES + int(COPIES * largest_share * 4 / item_bytes * stored_bytes),
        thread_bytes=batch_bytes(sizes, batch_tokens),
        device_thread_bytes=batch_bytes(sizes, batch_tokens),
        disk_bytes=float(stored_bytes),
        n_tokens=n_tokens,
        result_bytes=4.0 / item_bytes * stored_bytes,
        runs_model=True,
    )
