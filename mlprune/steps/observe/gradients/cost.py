"""Cost of the gradients of the loss of the whole model."""

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job_cost import SMALL_JOB_BYTES, JobCost, SetSize, batch_bytes, block_flops, n_block_weights

SUM_BYTES = 8
"""Bytes per weight of a sum of squared gradients."""
FILE_BYTES = 4
"""Bytes per weight of a file of gradients."""
FILE_COPIES = 3
"""Copies of the gradients of a block while they are written: root means, tensors of the file, and its bytes."""
PRODUCTS = 4
"""Products with the weights, in passes of inference: forward for the states before every block, forward and backward
through each block, and those of inputs and gradients."""
GRAPH_STATES = 8
"""Values of the widest layer that a backward pass keeps for each token: inputs and outputs of layers, their gradients,
and what is between layers."""


def loss_gradients_cost(step: str, sizes: Footprint, size: SetSize, *, batch_tokens: int) -> JobCost:
    """Cost of the gradients of the loss by the weights of all blocks over a set.

    Args:
        size: of the set.
    """
    block_bytes = FILE_BYTES * sum(sizes.prunable)
    fixed = SUM_BYTES * n_block_weights(sizes) + FILE_COPIES * block_bytes
    states_bytes = len(sizes.blocks) * batch_tokens * sizes.hidden * sizes.itemsize
    graph_bytes = GRAPH_STATES * batch_tokens * sizes.widest * max(4, sizes.itemsize)
    thread_bytes = batch_bytes(sizes, batch_tokens) + graph_bytes + states_bytes
    return JobCost(
        step,
        flops=PRODUCTS * block_flops(sizes, size.n_tokens),
        n_passes=2,
        fixed_bytes=SMALL_JOB_BYTES + fixed,
        thread_bytes=thread_bytes,
        device_fixed_bytes=fixed,
        device_thread_bytes=thread_bytes,
        transfer_bytes=block_bytes,
        disk_bytes=float(FILE_BYTES * n_block_weights(sizes)),
        n_tokens=size.n_tokens,
        runs_model=True,
        needs_one_shard=True,
    )
