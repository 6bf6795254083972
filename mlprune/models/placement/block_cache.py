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
        window: most parts in memory at once, at least 1; with 2, the next part is read ahead.
    """

    def __init__(self, read: Callable[[int], None], drop: Callable[[int], None], *, window: int) -> None:
        assert window >= 1, "the window has room for one part at least"
        self._read_part = read
        self._drop = drop
        self._window = window
        self._present: set[int] = set()
        self._pending: tuple[int, Future[None]] | None = None

    def has(self, part: int) -> bool:
        """Whether a part is in memory, or is being read."""
        return part in self._present or (self._pending is not None and self._pending[0] == part)

    def load(self, part: int | None, *, next_part: int | None = None) -> None:
        """Load a part and drop all others except the next one.

        Args:
            part: None while something that always stays in memory runs.
            next_part: read in the background if the window has room for it.
        """
        ahead = next_part if self._window > (part is not None) else None
        self.wait()
        for stale in self._present - {part, ahead}:
            self._present.discard(stale)
            self._drop(stale)
        if part is not None and part not in self._present:
            self._read(part)
            self._present.add(part)
        if ahead is not None and ahead not in self._present:
            self._pending = ahead, self._background.submit(self._read, ahead)

    def wait(self) -> None:
        """Wait until no part is being read.

        Raises: what reading raised; the part is then not in memory.
        """
        if self._pending is not None:
            (part, reading), self._pending = self._pending, None
            reading.result()
            self._present.add(part)

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
