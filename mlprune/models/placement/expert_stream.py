"""Experts of a block that does not fit in memory: each is read from disk when it runs, and dropped afterwards."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ExpertStream:
    """The experts of one block that do not stay in memory with it. Thread-safe.

    Threads that run the same expert share it. A thread that wants another one waits until there is room.

    Args:
        load: reads an expert from disk and puts it in place.
        drop: frees an expert.
        first: the first expert that is read when it runs; those before it stay in memory with the block.
        n_together: maximum number of these experts in memory at once, at least 1.
    """

    def __init__(
        self, load: Callable[[int], None], drop: Callable[[int], None], *, first: int, n_together: int
    ) -> None:
        assert n_together >= 1, "there must be room for the expert that runs"
        self._load = load
        self._drop = drop
        self._first = first
        self._n_together = n_together
        self._users = Counter[int]()
        self._changed = threading.Condition()

    @contextmanager
    def running(self, expert: int) -> Iterator[None]:
        """Keep an expert in memory inside the context; a thread runs one at a time.

        Raises: any error of `load`.
        """
        if expert < self._first:
            yield
            return
        self._begin(expert)
        try:
            yield
        finally:
            self._end(expert)

    def _begin(self, expert: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: expert in self._users or len(self._users) < self._n_together)
            self._users[expert] += 1
            if self._users[expert] == 1:
                try:
                    self._load(expert)
                except BaseException:
                    self._forget(expert)
                    raise

    def _end(self, expert: int) -> None:
        with self._changed:
            self._users[expert] -= 1
            if not self._users[expert]:
                self._forget(expert)

    def _forget(self, expert: int) -> None:
        del self._users[expert]
        self._drop(expert)
        self._changed.notify_all()
