"""Block visitors: run one batch through the blocks of a model, observe it, and return a result.

A chain creates one visitor per item. The first shard embeds the item, every shard runs its blocks, and the last shard
returns the result. A visitor is sent to the next shard with its hidden states, so both must be picklable: a visitor
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
    """Visitor of one item: runs the blocks on it and observes them."""

    @property
    def needs_head(self) -> bool:
        """Whether the result depends on the final norm and the head."""

    def start(self, runner: BlockRunner) -> States:
        """Embed the item; called in the first shard."""

    def needs_block(self, block: int) -> bool:
        """Whether this block, or any later one, must run."""

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block and observe it; return the states after the block."""

    def finish(self, runner: BlockRunner, states: States) -> Result_co:
        """Return the result; called in the last shard."""

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the memory that the item takes while it waits for the next block."""


Operation = Callable[[Item], BlockVisitor[Result]]
"""Creates the visitor of an item. Picklable: a visitor class, or a `partial` of one."""


@dataclass
class ShardMessage(Generic[Result]):
    """A visitor on its way between two shards."""

    visitor: BlockVisitor[Result]
    states: States = ()
    """Hidden states after the last block that ran; empty before the first shard."""


@dataclass
class BatchVisitor(ABC, Generic[Result]):
    """Visitor of a token batch whose rows run together through all blocks."""

    batch: TokenBatch

    needs_head: ClassVar[bool] = False

    def start(self, runner: BlockRunner) -> States:
        """Embed the batch."""
        return (runner.embed(self.batch.token_ids, self.batch.attention_mask),)

    def needs_block(self, block: int) -> bool:
        """Return True: all blocks run."""
        return True

    def visit(self, runner: BlockRunner, block: int, states: States) -> States:
        """Run one block and observe it."""
        return (self.around_block(runner, block, states[0]),)

    @abstractmethod
    def around_block(self, runner: BlockRunner, block: int, states: HiddenStates) -> HiddenStates:
        """Run one block, observe it, and return the states after it."""

    def finish(self, runner: BlockRunner, states: States) -> Result:
        """Return the result of the observation."""
        return self.result()

    @abstractmethod
    def result(self) -> Result:
        """Return the result of the observation of all blocks."""

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the memory of hidden states, attention mask and one sum per row and feature."""
        n_rows, length = self.batch.token_ids.shape
        return n_rows * (length * limit.token_bytes(length) + limit.per_row)
