"""Run one block and observe the inputs of its layers."""

from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.models.hooks import InputSums
from mlprune.models.inference.block_runner import BlockRunner
from mlprune.models.messages import HiddenStates


def run_observed(
    runner: BlockRunner, block: int, states: HiddenStates, *, counted: Tensor
) -> tuple[HiddenStates, dict[str, Tensor]]:
    """Run one block and sum the squares of the inputs of its layers.

    Returns: the states after the block; input -> [b, in] float32, on the CPU.
    Raises:
        StatisticsError: a counted activation is not finite; block and input are named.
    """
    listener = InputSums(runner.family, counted)
    try:
        with runner.hooks.listening(listener):
            states_after = runner.step(block, states)
    except StatisticsError as err:
        raise StatisticsError(err.message, err.context, block=block) from err
    return states_after, listener.sums()


def observe_inputs(
    runner: BlockRunner, block: int, states: HiddenStates, *, counted: Tensor, keeps_tokens: bool = False
) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    """Run one block up to its last layers, and observe the inputs of all its layers.

    Returns: the sums as from `run_observed`; if tokens are kept, input -> counted tokens [t, in] of each demonstration.
    Raises:
        StatisticsError: a counted activation is not finite; block and input are named.
    """
    listener = InputSums(runner.family, counted, keeps_tokens=keeps_tokens, stops=True)
    try:
        with runner.hooks.listening(listener):
            runner.step(block, states)
    except StatisticsError as err:
        raise StatisticsError(err.message, err.context, block=block) from err
    return listener.sums(), listener.tokens
