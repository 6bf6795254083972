"""Parts of a shard that are on disk: blocks, embeddings and head are loaded in the order in which they run."""

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import Protocol

import torch


class BlockCache:
    """Cache of offloaded parts. Not thread-safe; computing on a part may use any number of threads.

    Args:
        read: reads a part from disk and puts it in place; also called in the background, for the next part.
        drop: frees a part.
        window: maximum number of parts in memory, at least 1; with 2, the next part is read ahead.
    """

    def __init__(self, read: Callable[[int], None], drop: Callable[[int], None], *, window: int) -> None:
        assert window >= 1, "the window must have room for at least one part"
        self._read_part = read
        self._drop = drop
        self._window = window
        self._loaded: set[int] = set()
        self._pending: tuple[int, Future[None]] | None = None

    def has(self, part: int) -> bool:
        """Whether a part is in memory, or is being read."""
        return part in self._loaded or (self._pending is not None and self._pending[0] == part)

    def load(self, part: int | None, *, next_part: int | None = None) -> None:
        """Load a part and drop all others except the next one.

        Args:
            part: part to load; None if the part that runs next always stays in memory.
            next_part: part to read in the background, if the window has room for it.
        """
        prefetched = next_part if self._window > (part is not None) else None
        self.wait()
        for stale in self._loaded - {part, prefetched}:
            self._loaded.discard(stale)
            self._drop(stale)
        if part is not None and part not in self._loaded:
            self._read(part)
            self._loaded.add(part)
        if prefetched is not None and prefetched not in self._loaded:
            self._pending = prefetched, self._background.submit(self._read, prefetched)

    def wait(self) -> None:
        """Wait until no part is being read.

        Raises: any error of `read`; the part is then not in memory.
        """
        if self._pending is not None:
            (part, future), self._pending = self._pending, None
            future.result()
            self._loaded.add(part)

    def clear(self) -> None:
        """Drop all parts."""
        self.load(None)

    def _read(self, part: int) -> None:
        try:
            self._read_part(part)
        except BaseException:
            self._drop(part)
            raise

    @cached_property
    def _background(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, initializer=partial(torch.set_num_threads, 1), thread_name_prefix="reads-ahead")


class Placed(Protocol):
    """Modules of a shard, some of them on disk."""

    window: int

    @property
    def streams_experts(self) -> bool:
        """Whether a block is in memory without some of its experts."""

    @property
    def offloaded(self) -> Collection[int]:
        """The parts on disk."""

    def read(self, part: int) -> None:
        """Load a part from disk."""

    def drop(self, part: int) -> None:
        """Free the memory of a part."""


class OffloadedParts:
    """The parts of a shard that are on disk; none if the shard fits in memory.

    Args:
        placed: reads and drops the parts.
        blocks: blocks of the shard.
        restore: applies the changes of a part to its dense weights, which were just read.
    """

    def __init__(self, placed: Placed, blocks: range, *, restore: Callable[[int], None]) -> None:
        self._placed = placed
        self._blocks = blocks
        self._restore = restore
        self._cache = BlockCache(self._read, placed.drop, window=placed.window) if placed.offloaded else None

    def __bool__(self) -> bool:
        """Whether any part is on disk."""
        return self._cache is not None

    @property
    def blocks(self) -> list[int]:
        """The blocks on disk."""
        return [block for block in self._blocks if block in self._placed.offloaded]

    def has(self, block: int) -> bool:
        """Whether a block is in memory, or is being read."""
        return self._cache is None or block not in self._placed.offloaded or self._cache.has(block)

    def load(self, part: int) -> None:
        """Load a part before it runs, and begin to read the block after it."""
        if self._cache is None:
            return
        offloaded = self._placed.offloaded
        if part in self._blocks:
            later = (block for block in self.blocks if block > part)
            self._cache.load(part if part in offloaded else None, next_part=min(later, default=None))
        elif part in offloaded:
            self._cache.load(part)

    def wait(self) -> None:
        """Wait until nothing is being read, before masks change. Blocks without some of their experts are freed."""
        if self._cache is not None:
            self._cache.wait()
            if self._placed.streams_experts:
                self._cache.clear()

    def clear(self) -> None:
        """Free the memory of all parts; they are read again when needed."""
        if self._cache is not None:
            self._cache.clear()

    def _read(self, part: int) -> None:
        self._placed.read(part)
        with torch.inference_mode(False):
            self._restore(part)
