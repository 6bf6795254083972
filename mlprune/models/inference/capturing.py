"""Raw inputs of layers: what a batch's tokens are where chosen layers of chosen blocks read them.

Large: whoever asks bounds what is asked for at once. Sums of squares, which every score needs, are in `passes`.
"""

from collections.abc import Sequence

from torch import Tensor

from mlprune.models.inference.block_runner import BEFORE, BlockRunner, leaving
from mlprune.models.inference.passes import Pass
from mlprune.models.messages import CaptureBatch, Captured, CapturePart


def capturing(runner: BlockRunner, payload: CaptureBatch | CapturePart) -> Pass[CapturePart | Captured]:
    """Run a batch through the blocks, as far as something is wanted, and keep what is.

    Raises:
        StatisticsError: a counted activation is not finite; block and input are named.
    """
    if isinstance(payload, CaptureBatch):
        yield BEFORE
        states = runner.embed(payload.token_ids, payload.attention_mask)
        inputs: dict[tuple[int, str], Sequence[Tensor]] = {}
    else:
        states, inputs = runner.arrived(payload.states), dict(payload.inputs)
    for block in runner.blocks:
        if block > max(payload.wanted, default=-1):
            break
        yield block
        if block in payload.wanted:
            _, tokens = runner.only_observed(block, states, payload.counted, keeps_tokens=True)
            inputs |= {(block, name): [one.cpu() for one in tokens[name]] for name in payload.wanted[block]}
        states = runner.step(block, states)
    if runner.is_last:
        return Captured(inputs)
    return CapturePart(leaving(states), payload.counted, payload.wanted, inputs)
