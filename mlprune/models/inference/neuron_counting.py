"""Active feed-forward neurons of a batch: the number of tokens at which each neuron fires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from mlprune.errors import statistics_context
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates
from mlprune.numeric.activations.accelerator_statistics import check_counts, submit_active_counts

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass(frozen=True)
class ActiveNeurons:
    """Counts of a batch from all blocks, on the CPU."""

    counts: Mapping[int, Tensor]
    """Block -> [neurons] int64, counted tokens at which a neuron fires."""
    n_tokens: int
    """Counted tokens."""


@dataclass
class ActiveNeuronVisitor(BatchVisitor[ActiveNeurons]):
    """Count how often each feed-forward neuron fires.

    Raises:
        StatisticsError: a counted activation is not finite; the block is named.
    """

    counts: dict[int, Tensor] = field(init=False, default_factory=dict)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and count its active neurons."""
        counted, counts = self.counted, list[Tensor]()

        def count(activations: Tensor) -> None:
            counts.append(submit_active_counts(activations.reshape(*counted.mask.shape, -1), counted))

        with statistics_context(block=block), runner.hooks.listening(neurons=count):
            states_after = runner.step(block, states)
        (block_counts,) = counts
        self.gather(block, "neurons", block_counts)
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Keep the counts of a block."""
        with statistics_context(block=block):
            check_counts(tensor)
        self.counts[block] = tensor

    def result(self) -> ActiveNeurons:
        """Return the counts of all blocks."""
        return ActiveNeurons(self.counts, int(self.batch.counted.sum()))
