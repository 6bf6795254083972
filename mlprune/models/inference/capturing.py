"""Raw activations of a batch: the inputs of chosen layers of chosen blocks, token by token.

They are large: the caller bounds the number of blocks, inputs and tokens per pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from mlprune.models.inference.observed_block import check_inputs, observe_inputs
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates
from mlprune.models.placement.budget import GroupLimit

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner


@dataclass(frozen=True)
class Captured:
    """Activations of a batch, on the CPU, in the model's dtype."""

    inputs: Mapping[tuple[int, str], Sequence[Tensor]]
    """(block, input) -> one [tokens, in] per demonstration, with its counted tokens in order."""


@dataclass
class CaptureVisitor(BatchVisitor[Captured]):
    """Capture inputs of layers; blocks after the last chosen one do not run.

    Raises:
        StatisticsError: a counted activation is not finite; block and input are named.
    """

    inputs_of_block: Mapping[int, tuple[str, ...]]
    """Block -> inputs to capture, each named by the first layer that reads it."""
    captured: dict[tuple[int, str], Sequence[Tensor]] = field(init=False, default_factory=dict)

    def needs_block(self, block: int) -> bool:
        """Whether the block is not after the last chosen one."""
        return block <= max(self.inputs_of_block, default=-1)

    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Capture the chosen inputs of a block, then run it."""
        if block in self.inputs_of_block:
            sums, tokens = observe_inputs(runner, block, states, counted=self.counted, keeps_tokens=True)
            for name in self.inputs_of_block[block]:
                self.captured[block, name] = [rows.cpu() for rows in tokens[name]]
            for name, rows in sums.items():
                self.gather(block, name, rows)
        return runner.step(block, states)

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Check the sums of an input, which shows whether all its activations are finite."""
        check_inputs(block, {name: tensor})

    def result(self) -> Captured:
        """Return the captured inputs."""
        return Captured(self.captured)

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the memory of any batch, plus that of the captured activations."""
        n_inputs = sum(map(len, self.inputs_of_block.values()))
        return super().waiting_bytes(limit) + self.batch.token_ids.numel() * limit.per_input * n_inputs
