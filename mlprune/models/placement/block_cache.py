"""Cache of offloaded parts of a shard: a limited number in memory, the next one read in the background."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial

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
