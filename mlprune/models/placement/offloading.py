"""Load the offloaded parts of a shard in the order in which they run, with their masks."""

from collections.abc import Callable, Collection
from typing import Protocol

import torch

from mlprune.models.placement.block_cache import BlockCache


class Placed(Protocol):
    """Modules of a shard, some of them on disk."""

    window: int

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
        restore: applies the changes of a block to its dense weights, which were just read.
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
        """Wait until nothing is being read, before masks change."""
        if self._cache is not None:
            self._cache.wait()

    def clear(self) -> None:
        """Free the memory of all parts; they are read again when needed."""
        if self._cache is not None:
            self._cache.clear()

    def _read(self, part: int) -> None:
        self._placed.read(part)
        if part in self._blocks:
            with torch.inference_mode(False):
                self._restore(part)
