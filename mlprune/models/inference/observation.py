"""Activation statistics of a batch: sums of squares of layer inputs, and magnitudes of the hidden states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.models.inference.observed_block import run_observed
from mlprune.models.inference.visitor import BatchVisitor, States
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.statistics import hidden_magnitudes

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


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
    """One [b, d] for the embedding output and for each block so far."""

    def start(self, runner: BlockRunner) -> States:
        """Embed the batch and take the magnitudes of the embedding output."""
        (states,) = super().start(runner)
        self._add_magnitudes(states.hidden)
        return (states,)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block; sum the squares of its layer inputs, and take the magnitudes after the block."""
        states_after, block_sums = run_observed(runner, block, states, counted=self.batch.counted)
        self.sums |= {(block, name): tensor for name, tensor in block_sums.items()}
        self._add_magnitudes(states_after.hidden)
        return states_after

    def result(self) -> Observation:
        """Return the statistics of all blocks."""
        return Observation(self.sums, torch.stack(self.magnitudes), self.batch.counted.sum(dim=1))

    def _add_magnitudes(self, hidden: Tensor) -> None:
        try:
            self.magnitudes.append(hidden_magnitudes(hidden, self.batch.counted).cpu())
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, n_blocks_run=len(self.magnitudes)) from err
