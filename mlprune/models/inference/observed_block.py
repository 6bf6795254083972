"""Run one block and observe the inputs of its layers."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.families.records import Family
from mlprune.models.hooks import InputSums, LayerHooks
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.counted_tokens import CountedTokens
from mlprune.numeric.activations.statistics import check_sums


class ObservableRunner(Protocol):
    """The part of a block runner that observation needs; importing it does not import transformers."""

    @property
    def family(self) -> Family:
        """Family of the model."""

    @property
    def hooks(self) -> LayerHooks:
        """Hooks on the layers of the blocks."""

    def step(self, block: int, states: HiddenStates) -> HiddenStates:
        """Run one block."""


def run_observed(
    runner: ObservableRunner, block: int, states: HiddenStates, *, counted: CountedTokens
) -> tuple[HiddenStates, dict[str, Tensor]]:
    """Run one block and sum the squares of the inputs of its layers; see `run_keeping_tokens`."""
    states_after, listener = run_keeping_tokens(runner, block, states, counted=counted, keeps_tokens=False)
    return states_after, listener.sums()


def run_keeping_tokens(
    runner: ObservableRunner, block: int, states: HiddenStates, *, counted: CountedTokens, keeps_tokens: bool
) -> tuple[HiddenStates, InputSums]:
    """Run one block and sum the squares of the inputs of its layers.

    Returns: the states after the block; the listener with the sums, [b, in] float32 on the input's device, and with the
        tokens if they are kept. Sums from an accelerator are not checked, since the host would wait for them: copy
        those of many blocks, then call `check_inputs`.
    Raises:
        StatisticsError: a counted activation on the CPU is not finite; block and input are named.
    """
    listener = InputSums(runner.family, counted, keeps_tokens=keeps_tokens)
    with statistics_context(block=block), runner.hooks.listening(listener):
        states_after = runner.step(block, states)
    return states_after, listener


def observe_inputs(
    runner: ObservableRunner, block: int, states: HiddenStates, *, counted: CountedTokens, keeps_tokens: bool = False
) -> tuple[dict[str, Tensor], dict[str, list[Tensor]]]:
    """Run one block up to its last layers, and observe the inputs of all its layers.

    Returns: the sums as from `run_observed`; if tokens are kept, input -> counted tokens [t, in] of each demonstration.
    Raises:
        StatisticsError: as for `run_observed`.
    """
    listener = InputSums(runner.family, counted, keeps_tokens=keeps_tokens, stops=True)
    with statistics_context(block=block), runner.hooks.listening(listener):
        runner.step(block, states)
    return listener.sums(), listener.tokens


def check_inputs(block: int, sums: Mapping[str, Tensor]) -> None:
    """Check the sums of a block's inputs that were copied from an accelerator.

    Raises:
        StatisticsError: a counted activation is not finite; block and input are named.
    """
    for name, rows in sums.items():
        with statistics_context(input=name, block=block):
            check_sums(rows)
