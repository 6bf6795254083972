"""Which shard holds which blocks."""

from collections.abc import Sequence
from itertools import pairwise

from mlprune.errors import ModelError


def plan_spans(n_blocks: int, n_shards: int) -> tuple[range, ...]:
    """Cut the blocks into consecutive spans whose lengths differ by one at most, the longer ones first.

    Raises:
        ModelError: there are no shards, or more shards than blocks.
    """
    if not 1 <= n_shards <= n_blocks:
        raise ModelError("a model cannot be cut that way", expected=f"1 to {n_blocks} shards", got=n_shards)
    length, n_longer = divmod(n_blocks, n_shards)
    starts = [shard * length + min(shard, n_longer) for shard in range(n_shards + 1)]
    return tuple(range(start, stop) for start, stop in pairwise(starts))


def shard_of(spans: Sequence[range], block: int) -> int:
    """Position of the shard that holds a block.

    Raises:
        ModelError: none does.
    """
    for position, span in enumerate(spans):
        if block in span:
            return position
    raise ModelError("no shard holds the block", got=block, expected=f"0 to {spans[-1].stop - 1}")
