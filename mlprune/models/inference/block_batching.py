"""Many batches through a shard, block by block: where weights take turns in memory, they are read once for all of them.

Which batches go together is a matter of memory alone: their numbers do not depend on it. What a batch goes through is
in `passes`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mlprune.models.inference.passes import Pass
from mlprune.models.messages import CaptureBatch, ScoringBatch, TokenBatch
from mlprune.models.placement.memory_estimate import GROUP_BYTES, Footprint
from mlprune.parallel import parallel_map

_STATES = 4
"""Hidden states of a batch: before and after a block, and what is between."""
_MASK_ITEM = 4
"""Bytes of an entry of an attention mask, at most."""


@dataclass(frozen=True)
class GroupLimit:
    """How much the batches that go through a shard together may hold between two blocks."""

    per_token: int
    """Bytes of a token's hidden states."""
    per_row: int
    """Bytes of the sums of one demonstration over all blocks."""
    per_input: int
    """Bytes of a token's activations at the widest input, where they are kept."""
    n_bytes: int = GROUP_BYTES


def group_limit(sizes: Footprint) -> GroupLimit:
    """The limit for a model."""
    features = len(sizes.blocks) * (sizes.inputs + sizes.hidden)
    return GroupLimit(
        per_token=_STATES * sizes.hidden * sizes.item, per_row=4 * features, per_input=sizes.widest * sizes.item
    )


def grouped(items: Iterable[Any], limit: GroupLimit) -> Iterator[list[Any]]:
    """Consecutive items in groups within a limit, at least one each; an item is drawn when its group is wanted."""
    group: list[Any] = []
    n_bytes = 0
    for item in items:
        cost = _cost(item, limit)
        if group and n_bytes + cost > limit.n_bytes:
            yield group
            group, n_bytes = [], 0
        group.append(item)
        n_bytes += cost
    if group:
        yield group


def together(passes: Sequence[Pass[Any]], enter: Callable[[int], None], *, alone: frozenset[int]) -> list[Any]:
    """Drive passes of one operation through a shard, part by part; their results in order.

    Args:
        passes: not begun.
        enter: has a part in memory when it returns.
        alone: parts in which one pass at a time is at work, since each takes much memory there.
    """
    done, found = zip(*parallel_map(_advanced, passes), strict=True) if passes else ((True,), ())
    while not done[0]:
        part = found[0]
        enter(part)
        done, found = zip(*(map if part in alone else parallel_map)(_advanced, passes), strict=True)
    return list(found)


@torch.inference_mode()
def _advanced(one: Pass[Any]) -> tuple[bool, Any]:
    """Whether a pass has ended, and the part it needs next or what it returned."""
    try:
        return False, next(one)
    except StopIteration as end:
        return True, end.value


def _cost(item: Any, limit: GroupLimit) -> int:
    """Bytes a batch holds while it waits for the next block."""
    if isinstance(item, TokenBatch):
        n_rows, length = item.token_ids.shape
        n_inputs = sum(map(len, item.wanted.values())) if isinstance(item, CaptureBatch) else 0
        per_token = limit.per_token + _MASK_ITEM * length + limit.per_input * n_inputs
        return n_rows * (length * per_token + limit.per_row)
    if isinstance(item, ScoringBatch):
        length = item.prefix_ids.shape[1] + max((group.token_ids.shape[1] for group in item.groups), default=0)
        return item.n_computed * (limit.per_token + _MASK_ITEM * length)
    return 0
