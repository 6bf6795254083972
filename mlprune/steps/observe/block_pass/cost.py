"""Costs of a dense pass block by block."""

from collections.abc import Collection

from mlprune.methods import StatisticsName
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, SetSize, batch_bytes, block_flops
from mlprune.steps.observe.cost import COORDINATING_BYTES

_FILE_COPIES = 2
"""Copies of what is stored of a block: as tensors, and as the bytes of a file."""
GRADIENT_PASSES = 5
"""Time of the regional gradients of a block, in forward passes of the same tokens through it. Measured: 3.26 s of CPU
time against 0.62 to 0.65 s, for one block of the shape of XGLM-564M and 1,024 tokens."""


def observation_bytes(sizes: Footprint, size: SetSize, *, observed: Collection[StatisticsName]) -> int:
    """Return the bytes of what is observed of one block of one set, as it is stored."""
    n_products = 4 * (sizes.input_products + sizes.inputs) if "products" in observed else 0  # the upper triangles
    n_sums = 16 * size.n_demonstrations * sizes.inputs if "sums" in observed else 0
    n_gradients = 4 * sum(sizes.prunable) if "gradients" in observed else 0
    return n_products + n_sums + n_gradients


def block_pass_cost(
    step: str, sizes: Footprint, size: SetSize, *, batch_tokens: int, observed: Collection[StatisticsName]
) -> JobCost:
    """Cost of observing a set block by block.

    Args:
        size: of the set.
        observed: statistics in addition to the sums of squares.
    """
    state_bytes = size.n_tokens * sizes.hidden * sizes.itemsize
    squares_bytes = 4 * size.n_demonstrations * sizes.inputs
    stored_bytes = observation_bytes(sizes, size, observed=observed)
    gram_bytes = 8 * sizes.input_products if "products" in observed else 0
    gradient_bytes = 8 * sum(sizes.prunable) if "gradients" in observed else 0
    on_device = state_bytes + gram_bytes + gradient_bytes
    fixed_bytes = SMALL_JOB_BYTES + on_device + _FILE_COPIES * stored_bytes + 3 * squares_bytes
    n_blocks = len(sizes.blocks)
    product_flops = size.n_tokens * gram_bytes / 8 if "products" in observed else 0
    gradient_flops = GRADIENT_PASSES * block_flops(sizes, size.n_tokens) if "gradients" in observed else 0
    thread_bytes = batch_bytes(sizes, batch_tokens) * (2 if observed else 1)
    return JobCost(
        step,
        flops=block_flops(sizes, size.n_tokens) + n_blocks * product_flops + gradient_flops,
        n_passes=1,
        fixed_bytes=max(COORDINATING_BYTES, fixed_bytes),
        thread_bytes=thread_bytes,
        device_fixed_bytes=on_device,
        device_thread_bytes=thread_bytes,
        transfer_bytes=stored_bytes,
        disk_bytes=float(n_blocks) * (squares_bytes + stored_bytes),
        n_tokens=size.n_tokens,
        runs_model=True,
    )
