"""Observe a batch: inputs of layers, raw activations and block influence.

Raw activations of a batch: the inputs of chosen layers of chosen blocks, token by token.

They are large: the caller bounds the number of blocks, inputs and tokens per pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.hooks import InputSums, LayerHooks
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates, States
from mlprune.models.placement.budget import GroupLimit
from mlprune.numeric.activations.accelerator_statistics import (
    submit_hidden_magnitudes,
)
from mlprune.numeric.activations.influence import check_influence, influence_sums
from mlprune.numeric.activations.statistics import CountedTokens, check_sums

_MAGNITUDES = "magnitudes of the hidden state"
"""Name of an observation that is not an input of layers; its block is the number of blocks that have run."""
if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


class ObservableRunner(Protocol):
    """The part of a block runner that observation needs; importing it does not import transformers."""

    @property
    def architecture(self) -> Architecture:
        """Architecture of the model."""

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
    listener = InputSums(runner.architecture.block(block), counted, keeps_tokens=keeps_tokens)
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
    listener = InputSums(runner.architecture.block(block), counted, keeps_tokens=keeps_tokens, stops=True)
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


@dataclass(frozen=True)
class Observation:
    """Statistics of a batch from all blocks, on the CPU."""

    sums: Mapping[tuple[int, str], Tensor]
    """(block, input) -> [b, in] float32, sums of squares over counted tokens."""
    magnitudes: Tensor
    """[n_blocks + 1, b, d] float32: of the embedding output, then of the hidden states after each block."""
    n_tokens: Tensor
    """[b] int64, counted tokens."""


@dataclass
class StatisticsVisitor(BatchVisitor[Observation]):
    """Sum the squares of the inputs of all layers.

    Raises:
        StatisticsError: a counted activation is not finite; the block is named.
    """

    sums: dict[tuple[int, str], Tensor] = field(init=False, default_factory=dict)
    magnitudes: list[Tensor] = field(init=False, default_factory=list)
    """One [b, d] for the embedding output and for each block, as far as they are kept."""

    def start(self, runner: BlockRunner) -> States:
        """Embed the batch and take the magnitudes of the embedding output."""
        (states,) = super().start(runner)
        self._take_magnitudes(states.hidden, n_blocks_run=0)
        return (states,)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block; sum the squares of its layer inputs, and take the magnitudes after the block."""
        states_after, block_sums = run_observed(runner, block, states, counted=self.counted)
        for name, sums in block_sums.items():
            self.gather(block, name, sums)
        self._take_magnitudes(states_after.hidden, n_blocks_run=block + 1)
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Keep sums of squares, or the magnitudes after a number of blocks."""
        if name == _MAGNITUDES:
            with statistics_context(n_blocks_run=block):
                check_sums(tensor)
            self.magnitudes.append(tensor)
        else:
            check_inputs(block, {name: tensor})
            self.sums[block, name] = tensor

    def result(self) -> Observation:
        """Return the statistics of all blocks."""
        return Observation(self.sums, torch.stack(self.magnitudes), self.batch.counted.sum(dim=1))

    def _take_magnitudes(self, hidden: Tensor, *, n_blocks_run: int) -> None:
        with statistics_context(n_blocks_run=n_blocks_run):
            magnitudes = submit_hidden_magnitudes(hidden, self.counted)
        self.gather(n_blocks_run, _MAGNITUDES, magnitudes)


@dataclass(frozen=True)
class Captured:
    """Activations of a batch, on the CPU, in the model's dtype."""

    inputs: Mapping[tuple[int, str], Sequence[Tensor]]
    """(block, input) -> one [tokens, in] per demonstration, with its counted tokens in order."""
    positions: Mapping[tuple[int, str], Sequence[Tensor]]
    """(block, input of an expert) -> one [tokens] int64 per demonstration: which of its counted tokens the expert
    reads. All other inputs have every counted token."""


@dataclass
class CaptureVisitor(BatchVisitor[Captured]):
    """Capture inputs of layers; blocks after the last chosen one do not run.

    Raises:
        StatisticsError: a counted activation is not finite; block and input are named.
    """

    inputs_of_block: Mapping[int, tuple[str, ...]]
    """Block -> inputs to capture, each named by the first layer that reads it."""
    captured: dict[tuple[int, str], Sequence[Tensor]] = field(init=False, default_factory=dict)
    positions: dict[tuple[int, str], Sequence[Tensor]] = field(init=False, default_factory=dict)

    def needs_block(self, block: int) -> bool:
        """Whether the block is not after the last chosen one."""
        return block <= max(self.inputs_of_block, default=-1)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Capture the chosen inputs of a block, then run it."""
        if block in self.inputs_of_block:
            listener = InputSums(runner.architecture.block(block), self.counted, keeps_tokens=True, stops=True)
            with statistics_context(block=block), runner.hooks.listening(listener):
                runner.step(block, states)
            sums = listener.sums()
            for name in self.inputs_of_block[block]:
                self.captured[block, name] = [rows.cpu() for rows in listener.tokens[name]]
                if name in listener.routed:
                    self.positions[block, name] = self.counted.positions_of(listener.routed[name].cpu())
            for name, rows in sums.items():
                self.gather(block, name, rows)
        return runner.step(block, states)

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Check the sums of an input, which shows whether all its activations are finite."""
        check_inputs(block, {name: tensor})

    def result(self) -> Captured:
        """Return the captured inputs."""
        return Captured(self.captured, self.positions)

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the memory of any batch, plus that of the captured activations."""
        n_inputs = sum(map(len, self.inputs_of_block.values()))
        return super().waiting_bytes(limit) + self.batch.token_ids.numel() * limit.per_input * n_inputs


@dataclass(frozen=True)
class InfluenceSums:
    """Influence of the blocks on a batch, on the CPU."""

    sums: Tensor
    """[n_blocks, b] float64: 1 - cosine of the states before and after each block, before the final norm, added over
    the counted tokens of each demonstration."""
    n_tokens: Tensor
    """[b] int64, counted tokens."""


@dataclass
class InfluenceVisitor(BatchVisitor[InfluenceSums]):
    """Compare the hidden states before and after each block.

    Raises:
        StatisticsError: a counted state is not finite; the block is named.
    """

    sums: list[Tensor] = field(init=False, default_factory=list)
    """One [b] float64 per block so far."""

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and compare the states after it with those before it."""
        states_after = runner.step(block, states)
        before = states.hidden.to(states_after.hidden.device)
        with statistics_context(block=block):
            self.gather(block, "influence", influence_sums(before, states_after.hidden, counted=self.counted))
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Keep the sums of a block."""
        with statistics_context(block=block):
            check_influence(tensor)
        self.sums.append(tensor)

    def result(self) -> InfluenceSums:
        """Return the sums of all blocks."""
        return InfluenceSums(torch.stack(self.sums), self.batch.counted.sum(dim=1))
