"""Block visitors: run one batch through the blocks of a model, observe it, and return a result.

A chain creates one visitor per item. The first shard embeds the item, every shard runs its blocks, and the last shard
returns the result. A visitor is sent to the next shard with its hidden states, so both must be picklable: after
`leave_shard` it contains batches, tensors on the CPU and plain values, never a cache, a module or a weight.

To observe something new, write one visitor class; `BatchVisitor` does everything except the observation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from mlprune.models.messages import HiddenStates, TokenBatch
from mlprune.models.placement.budget import GroupLimit
from mlprune.numeric.activations.counted_tokens import CountedTokens
from mlprune.numeric.activations.host_copies import HostCopies

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

    def leave_shard(self) -> None:
        """Move what was observed to the CPU; called after a shard's blocks, before the visitor is sent to the next."""

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
    """Visitor of a token batch whose rows run together through all blocks.

    Observations stay on their device until they are large or the shard ends; `gather` them, and `keep` them on the CPU.
    """

    batch: TokenBatch
    counted: CountedTokens = field(init=False, repr=False)
    _gathered: HostCopies[tuple[int, str]] = field(init=False, repr=False, default_factory=HostCopies)

    needs_head: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.counted = CountedTokens(self.batch.counted)

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

    def gather(self, block: int, name: str, tensor: Tensor) -> None:
        """Take an observation of a block, on any device; it is kept later, in order with the others."""
        self._gathered.add((block, name), tensor)
        if self._gathered.is_large:
            self._keep_all()

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Check and keep an observation of a block that is now on the CPU."""
        raise NotImplementedError(f"{type(self).__name__} gathers observations and does not keep them")

    def leave_shard(self) -> None:
        """Keep what was gathered, and free the memory on devices."""
        self._keep_all()
        self.counted.free_devices()

    def finish(self, runner: BlockRunner, states: States) -> Result:
        """Return the result of the observation."""
        self._keep_all()
        return self.result()

    def _keep_all(self) -> None:
        for (block, name), tensor in self._gathered.take().items():
            self.keep(block, name, tensor)

    @abstractmethod
    def result(self) -> Result:
        """Return the result of the observation of all blocks."""

    def waiting_bytes(self, limit: GroupLimit) -> int:
        """Return the memory of hidden states, attention mask and one sum per row and feature."""
        n_rows, length = self.batch.token_ids.shape
        return n_rows * (length * limit.token_bytes(length) + limit.per_row)
