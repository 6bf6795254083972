"""Gradients of the loss in the process of a shard; `Chain.on_block` calls the function, as it calls methods."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.block_choices import Extra
from mlprune.models.gradients.loss_gradients import loss_gradients
from mlprune.models.messages import TokenBatch
from mlprune.models.shard import Shard

Write = Callable[[int, Mapping[str, Tensor]], Extra]
"""Called with (block, layer -> [out, in] float32). What it returns travels to the caller, so it contains no tensors."""


def write_loss_gradients(shard: Shard, batches: Sequence[TokenBatch], write: Write[Extra]) -> list[Extra]:
    """Pass the gradients of the loss to a function, block by block.

    Raises:
        ModelError: the shard is a part of the model.
        StatisticsError: a gradient is not finite; block and layer are named.
    """
    if len(shard.blocks) < shard.n_blocks:
        got = f"{len(shard.blocks)} of {shard.n_blocks} blocks"
        raise ModelError("a gradient through the whole model needs one shard", expected="shards: 1", got=got)
    return [write(block, of_block) for block, of_block in loss_gradients(shard.runner, batches, shard.load)]
