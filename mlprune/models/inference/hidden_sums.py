"""Sums of hidden states over the tokens of a batch, from which the mean state of a language is computed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.accelerator_statistics import submit_token_sums
from mlprune.numeric.activations.statistics import check_token_sums

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass(frozen=True)
class StateSums:
    """Sums of a batch's hidden states, on the CPU."""

    sums: Tensor
    """[n_blocks, d] float64: sums of the states after each block, before the final norm, over the counted tokens."""
    n_tokens: int
    """Counted tokens."""


@dataclass
class HiddenSumVisitor(BatchVisitor[StateSums]):
    """Sum the hidden states after each block.

    Raises:
        StatisticsError: a counted state is not finite; the block is named.
    """

    sums: list[Tensor] = field(init=False, default_factory=list)
    """One [d] float64 per block so far."""

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and sum the states after it."""
        states_after = runner.step(block, states)
        with statistics_context(block=block):
            self.gather(block, "state", submit_token_sums(states_after.hidden, self.counted))
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Keep the sums after a block."""
        with statistics_context(block=block):
            check_token_sums(tensor)
        self.sums.append(tensor)

    def result(self) -> StateSums:
        """Return the sums of all blocks."""
        return StateSums(torch.stack(self.sums), int(self.batch.counted.sum()))
