"""Block ranges: the consecutive blocks of each shard, and the numbers of the parts of a model.

The parts are the embeddings (`EMBEDDINGS`), the blocks from 0, and the final norm with the head (the number of blocks).
"""

from collections.abc import Sequence
from itertools import pairwise

from mlprune.errors import ModelError

EMBEDDINGS = -1
"""Number of the part before the blocks."""


def plan_spans(n_blocks: int, n_shards: int) -> tuple[range, ...]:
    """Split the blocks into consecutive ranges whose lengths differ by at most one, longer ranges first.

    Raises:
        ModelError: `n_shards` is 0, or larger than `n_blocks`.
    """
    if not 1 <= n_shards <= n_blocks:
        raise ModelError(
            "a model cannot be split into this number of shards", expected=f"1 to {n_blocks} shards", got=n_shards
        )
    length, n_longer = divmod(n_blocks, n_shards)
    starts = [shard * length + min(shard, n_longer) for shard in range(n_shards + 1)]
    return tuple(range(start, stop) for start, stop in pairwise(starts))


def shard_of(spans: Sequence[range], block: int) -> int:
    """Return the index of the shard that has a block.

    Raises:
        ModelError: no shard has it.
    """
    for index, span in enumerate(spans):
        if block in span:
            return index
    raise ModelError("no shard has the block", got=block, expected=f"0 to {spans[-1].stop - 1}")
