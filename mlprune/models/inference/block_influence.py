"""Influence of every block on the hidden states of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.block_influence import check_influence, influence_sums

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


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
