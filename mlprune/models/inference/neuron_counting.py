"""Feed-forward neurons of the dense model: over how many tokens of a batch each of them fires.

What a neuron's activation is, is a family's record to say; what the counts mean is in `numeric/neurons.py`.
"""

from torch import Tensor

from mlprune.models.inference.block_runner import BEFORE, BlockRunner, leaving
from mlprune.models.inference.passes import Pass
from mlprune.models.messages import ActiveNeurons, CountPart, TokenBatch


def counting(runner: BlockRunner, payload: TokenBatch | CountPart) -> Pass[CountPart | ActiveNeurons]:
    """Run a batch through the blocks and count the neurons that fire.

    Raises:
        StatisticsError: a counted activation is not finite; the block is named.
    """
    if isinstance(payload, TokenBatch):
        yield BEFORE
        states = runner.embed(payload.token_ids, payload.attention_mask)
        counts: dict[int, Tensor] = {}
    else:
        states, counts = runner.arrived(payload.states), dict(payload.counts)
    for block in runner.blocks:
        yield block
        states, counts[block] = runner.step_counted(block, states, payload.counted)
    if runner.is_last:
        return ActiveNeurons(counts, int(payload.counted.sum()))
    return CountPart(leaving(states), payload.counted, counts)
