"""Block visitors: run batches through the blocks of a model, one block or one batch at a time.

Block visitors: run one batch through the blocks of a model, observe it, and return a result.

A chain creates one visitor per item. The first shard embeds the item, every shard runs its blocks, and the last shard
returns the result. A visitor is sent to the next shard with its hidden states, so both must be picklable: after
`leave_shard` it contains batches, tensors on the CPU and plain values, never a cache, a module or a weight.

To observe something new, write one visitor class; `BatchVisitor` does everything except the observation.

Run many batches through a shard block by block, so that weights read from disk are read once for all of them.

Memory alone determines which batches run together. Results do not depend on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.messages import HiddenStates, States, TokenBatch
from mlprune.models.placement.budget import GroupLimit
from mlprune.numeric.activations.accelerator_statistics import HostCopies
from mlprune.numeric.activations.statistics import CountedTokens
from mlprune.processes.parallel import parallel_map

LoadPart = Callable[[int], None]
"""Called with a part of the model before it runs: `EMBEDDINGS`, a block, or n_blocks for final norm and head."""
if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


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
        self.counted = CountedTokens(self.batch.counted, self.batch.groups)

    def start(self, runner: BlockRunner) -> States:
        """Embed the batch. Its observations need the memory of kept states."""
        if runner.kept_states is not None:
            runner.kept_states.clear()
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


def group_visitors(visitors: Iterable[BlockVisitor[Result]], limit: GroupLimit) -> Iterator[list[BlockVisitor[Result]]]:
    """Split visitors into consecutive groups within a limit, at least one each; take visitors only when needed."""
    group: list[BlockVisitor[Result]] = []
    n_bytes = 0
    for visitor in visitors:
        cost = visitor.waiting_bytes(limit)
        if group and n_bytes + cost > limit.n_bytes:
            yield group
            group, n_bytes = [], 0
        group.append(visitor)
        n_bytes += cost
    if group:
        yield group


def run_blocks_in_step(runner: BlockRunner, messages: Sequence[ShardMessage[Result]], load: LoadPart) -> None:
    """Run all visitors through the blocks of a shard, and store the states after the last block in the messages.

    All visitors run a block before any of them runs the next. Results are the same as for one visitor at a time.

    Args:
        runner: runs the blocks of the shard.
        messages: messages with the visitors; their states are replaced after each block, which frees memory.
        load: called before each part runs.
    """

    @torch.inference_mode()
    def start(message: ShardMessage[Result]) -> None:
        if runner.is_first:
            message.states = message.visitor.start(runner)
        else:
            message.states = tuple(runner.receive(states) for states in message.states)

    if messages and runner.is_first:
        load(EMBEDDINGS)
    _for_each(messages, start)
    for block in runner.blocks:
        running = [message for message in messages if message.visitor.needs_block(block)]
        if not running:
            return
        load(block)
        _visit(runner, running, block)


def finish(
    runner: BlockRunner, messages: Sequence[ShardMessage[Result]], load: LoadPart, *, one_by_one: bool
) -> list[Result]:
    """Return the results of visitors that have run all blocks, in order.

    Args:
        one_by_one: compute one result at a time if the head is needed, to save memory.
    """

    @torch.inference_mode()
    def result(message: ShardMessage[Result]) -> Result:
        return message.visitor.finish(runner, message.states)

    if not any(message.visitor.needs_head for message in messages):
        return [result(message) for message in messages]
    load(runner.n_blocks)
    return [*map(result, messages)] if one_by_one else [*parallel_map(result, messages)]


def _visit(runner: BlockRunner, messages: Sequence[ShardMessage[Result]], block: int) -> None:
    @torch.inference_mode()
    def visit(message: ShardMessage[Result]) -> None:
        message.states = message.visitor.visit(runner, block, message.states)

    _for_each(messages, visit)


def _for_each(messages: Sequence[ShardMessage[Result]], function: Callable[[ShardMessage[Result]], None]) -> None:
    """Apply a function to messages, several at a time."""
    for _ in parallel_map(function, messages):
        pass
