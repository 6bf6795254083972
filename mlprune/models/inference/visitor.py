"""Block visitors: what one batch runs, observes and returns on its way through the blocks of a model.

A chain makes one visitor per item. The first shard embeds the item, every shard runs its blocks, and the last shard
returns the result. Between two shards a visitor travels with its hidden states, so both must be picklable: a visitor
contains batches, tensors on the CPU and plain values, never a cache, a module or a weight.

To observe something new, write one visitor class; `BatchVisitor` does everything except the observation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from mlprune.models.messages import HiddenStates, TokenBatch
from mlprune.models.placement.budget import GroupLimit

if TYPE_CHECKING:  # importing the runner imports transformers, which takes seconds
    from mlprune.models.inference.block_runner import BlockRunner

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

States = tuple[HiddenStates, ...]
"""Hidden states of a visitor between two blocks: one entry per group of rows that runs as one batch."""


class ChainItem(Protocol):
    """An item that enters a chain."""

    @property
    def n_computed(self) -> int:
        """Tokens that the model computes, padding included."""


Item = TypeVar("Item", bound=ChainItem)


class BlockVisitor(Protocol[Result_co]):
    """What one item runs and observes in the blocks."""

    @property
    def needs_head(self) -> bool:
        """Whether the result depends on the final norm and the head."""

    def start(self, runner: BlockRunner) -> States:
        """Embed the item; called in the first shard."""

    def needs_block(self, block: int) -> bool:
        """Whether this block, or any later one, has to run."""

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block and observe it; returns the states after the block."""

    def finish(self, runner: BlockRunner, states: States) -> Result_co:
        """Return the result; called in the last shard."""

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Memory that the item takes while it waits for the next block."""


Operation = Callable[[Item], BlockVisitor[Result]]
"""Makes the visitor of an item; picklable: a visitor class, or a `partial` of one."""


@dataclass
class ShardMessage(Generic[Result]):
    """A visitor on its way between two shards."""

    visitor: BlockVisitor[Result]
    states: States = ()
    """After the last block that ran; empty before the first shard."""


@dataclass
class BatchVisitor(ABC, Generic[Result]):
    """Visitor of a token batch whose rows run together through all blocks."""

    batch: TokenBatch

    needs_head: ClassVar[bool] = False

    def start(self, runner: BlockRunner) -> States:
        """Embed the batch."""
        return (runner.embed(self.batch.token_ids, self.batch.attention_mask),)

    def needs_block(self, block: int) -> bool:
        """All blocks run."""
        return True

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block and observe it."""
        return (self.around_block(runner, block, states[0]),)

    @abstractmethod
    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run one block, observe it, and return the states after it."""

    def finish(self, runner: BlockRunner, states: States) -> Result:
        """Return what was observed."""
        return self.result()

    @abstractmethod
    def result(self) -> Result:
        """What was observed in all blocks."""

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Hidden states, attention mask and one sum per row and feature."""
        n_rows, length = self.batch.token_ids.shape
        return n_rows * (length * limit.token_bytes(length) + limit.per_row)
