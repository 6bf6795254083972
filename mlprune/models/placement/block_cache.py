"""Parts of a shard that take turns in memory: at most a window of them at a time, the next one read in the background.

What a part is, how it is read and what becomes of its masks is decided elsewhere.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial

import torch


class BlockCache:
    """Who is in memory. One thread at a time may call this; the work on a part may use as many as it likes.

    Args:
        load: reads a part and puts it in place; called in the background for the part that comes next.
        drop: takes a part away.
        window: parts in memory at a time, at least 1; with 2, the next one is read ahead.
    """

    def __init__(self, load: Callable[[int], None], drop: Callable[[int], None], *, window: int) -> None:
        assert window >= 1, "somebody has to be in memory"
        self._load = load
        self._drop = drop
        self._window = window
        self._present: set[int] = set()
        self._coming: tuple[int, Future[None]] | None = None

    def has(self, part: int) -> bool:
        """Whether a part is in memory, or about to be."""
        return part in self._present or (self._coming is not None and self._coming[0] == part)

    def enter(self, part: int | None, *, then: int | None = None) -> None:
        """Have a part in memory, and no other but the one that comes next.

        Args:
            part: None where the work is on something that always stays.
            then: the part that comes next; it is read in the background if the window has room for it.
        """
        following = then if self._window > (part is not None) else None
        self.settle()
        for other in self._present - {part, following}:
            self._present.discard(other)
            self._drop(other)
        if part is not None and part not in self._present:
            self._read(part)
            self._present.add(part)
        if following is not None and following not in self._present:
            self._coming = following, self._background.submit(self._read, following)

    def settle(self) -> None:
        """Wait until nothing is read in the background.

        Raises: what reading raised; the part is not there then.
        """
        if self._coming is not None:
            (part, reading), self._coming = self._coming, None
            reading.result()
            self._present.add(part)

    def clear(self) -> None:
        """Have nothing in memory."""
        self.enter(None)

    def _read(self, part: int) -> None:
        try:
            self._load(part)
        except BaseException:
            self._drop(part)
            raise

    @cached_property
    def _background(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, initializer=partial(torch.set_num_threads, 1), thread_name_prefix="reads-ahead")
