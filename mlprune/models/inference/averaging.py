"""Hidden states of the dense model, added up over the tokens of a batch: what the mean state of a language is made of.

What is done with a mean is the steps' to say; adding a vector to states while a model runs is in `running.py`.
"""

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.models.inference.block_runner import BEFORE, BlockRunner, leaving
from mlprune.models.inference.passes import Pass
from mlprune.models.messages import StateSums, SumPart, TokenBatch
from mlprune.numeric.activations.statistics import token_sums


def adding_up(runner: BlockRunner, payload: TokenBatch | SumPart) -> Pass[SumPart | StateSums]:
    """Run a batch through the blocks and add its states up behind each.

    Raises:
        StatisticsError: a counted state is not finite; the block is named.
    """
    if isinstance(payload, TokenBatch):
        yield BEFORE
        states = runner.embed(payload.token_ids, payload.attention_mask)
        sums: list[Tensor] = []
    else:
        states, sums = runner.arrived(payload.states), list(payload.sums)
    for block in runner.blocks:
        yield block
        states = runner.step(block, states)
        try:
            sums.append(token_sums(states.hidden, payload.counted).cpu().to(torch.float64))
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, block=block) from err
    if runner.is_last:
        return StateSums(torch.stack(sums), int(payload.counted.sum()))
    return SumPart(leaving(states), payload.counted, tuple(sums))
