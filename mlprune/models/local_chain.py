"""The chain in this process: the shards of one replica, one after another.

What steps speak to is in `replica`; another implementation only has to forward: payloads can be pickled.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlprune.errors import ModelError
from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.models.inference.block_batching import GroupLimit, grouped
from mlprune.models.placement.memory_estimate import footprint
from mlprune.models.shard import Shard
from mlprune.parallel import parallel_map
from mlprune.vocabulary import DtypeName


class LocalChain:
    """Shards in this process; items travel side by side, as many at a time as the process has threads.

    Where blocks take turns in memory, items travel in groups, block by block, so that weights are read once a group.

    Args:
        shards: in the order of their blocks.
        limit: of a group of items, if blocks take turns in memory; the limit of the shards by default.
    Raises:
        ModelError: the shards do not follow each other from the first block to the last.
    """

    def __init__(self, shards: Sequence[Shard], *, limit: GroupLimit | None = None) -> None:
        self._shards = tuple(shards)
        self.spans = tuple(shard.blocks for shard in self._shards)
        self.n_blocks = self._shards[0].n_blocks if shards else 0
        blocks = [block for span in self.spans for block in span]
        if not shards or blocks != list(range(self.n_blocks)):
            raise ModelError("shards do not follow each other", expected=f"blocks 0 to {self.n_blocks - 1}", got=blocks)
        needed = chain_limit(shard.group_limit() for shard in self._shards)
        self.limit = needed if needed is None or limit is None else limit
        """Limit of a group of items; None if items travel one by one."""

    def stream(self, operation: str, items: Iterable[Any]) -> Iterator[Any]:
        """See `Chain.stream`."""

        def through(item: Any) -> Any:
            for shard in self._shards:
                item = getattr(shard, operation)(item)
            return item

        return parallel_map(through, items) if self.limit is None else self._in_groups(operation, items, self.limit)

    def _in_groups(self, operation: str, items: Iterable[Any], limit: GroupLimit) -> Iterator[Any]:
        for group in grouped(items, limit):
            travelling = group
            for shard in self._shards:
                travelling = shard.together(operation, travelling)
            yield from travelling
        self.everywhere("rest")

    def on_block(self, block: int, operation: str, *args: Any) -> Any:
        """See `Chain.on_block`."""
        return getattr(self._shards[shard_of(self.spans, block)], operation)(*args)

    def everywhere(self, operation: str, *args: Any) -> list[Any]:
        """See `Chain.everywhere`."""
        return [getattr(shard, operation)(*args) for shard in self._shards]


def local_chain(
    path: Path,
    *,
    n_shards: int = 1,
    dtype: DtypeName = "float32",
    memory_bytes: int | None = None,
    working_bytes: int | None = None,
    limit: GroupLimit | None = None,
) -> LocalChain:
    """Load a model as a chain in this process.

    Args:
        memory_bytes: of each shard, as if it were alone in its process.
        working_bytes: part of it for the work; see `Shard`.
        limit: of a group of items, if blocks take turns in memory; the limit of the shards by default.
    Raises:
        ModelError: the folder is not one we read, the model has fewer blocks than shards are wanted, or the memory has
            no room for one block.
    """
    n_blocks = len(footprint(path, dtype).blocks)
    spans = plan_spans(n_blocks, n_shards)
    options: dict[str, Any] = {"dtype": dtype, "memory_bytes": memory_bytes, "working_bytes": working_bytes}
    return LocalChain([Shard(path, span, n_blocks=n_blocks, **options) for span in spans], limit=limit)


def chain_limit(limits: Iterable[GroupLimit | None]) -> GroupLimit | None:
    """What may go through a chain together, from the `group_limit` of its shards; None: items go one by one."""
    return next((limit for limit in limits if limit is not None), None)
