"""Run many batches through a shard block by block, so that weights read from disk are read once for all of them.

Memory alone determines which batches run together. Results do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from mlprune.models.block_ranges import EMBEDDINGS
from mlprune.models.inference.visitor import BlockVisitor, Result, ShardMessage
from mlprune.models.placement.budget import GroupLimit
from mlprune.processes.parallel import parallel_map

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

LoadPart = Callable[[int], None]
"""Called with a part of the model before it runs: `EMBEDDINGS`, a block, or n_blocks for final norm and head."""


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
