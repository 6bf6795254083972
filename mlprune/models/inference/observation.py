"""Activation statistics of a batch: sums of squares of layer inputs, and magnitudes of the hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.inference.observed_block import check_inputs, run_observed
from mlprune.models.inference.visitor import BatchVisitor, States
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.accelerator_statistics import submit_hidden_magnitudes
from mlprune.numeric.activations.statistics import check_sums

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

_MAGNITUDES = "magnitudes of the hidden state"
"""Name of an observation that is not an input of layers; its block is the number of blocks that have run."""


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
