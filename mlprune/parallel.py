"""How many pieces of work a process does side by side.

Every piece computes with one thread of the tensor library, so its bits do not depend on how many run beside it; more
cores are used by more pieces. The edge of the program says how many threads it was given; no other part asks the
machine.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Threads:
    """The threads of this process."""

    n = 1
    pool: ThreadPoolExecutor | None = None
    here = local()


def set_worker_threads(n: int) -> None:
    """Let this process work on `n` pieces at a time from now on; called where a process starts its work.

    The calling thread, which does the pieces if n is 1, computes with one thread of the tensor library from now on.

    Args:
        n: at least 1; no piece may be under way.
    """
    assert n >= 1, "somebody has to do the work"
    _compute_alone()
    if _Threads.pool is not None:
        _Threads.pool.shutdown()
    _Threads.n = n
    _Threads.pool = ThreadPoolExecutor(n, initializer=_start) if n > 1 else None


def n_threads() -> int:
    """How many pieces this process works on at a time."""
    return _Threads.n


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to items, some at a time, and yield the results in the items' order.

    Items are drawn as they are needed, two a thread in advance. Inside a piece everything runs one after another, so
    pieces may be nested. An exception of a piece is raised where its result is due; pieces under way are waited for.

    Args:
        function: safe to run in several threads at once.
        items: may be drawn ahead of the results.
    """
    if _Threads.pool is None or getattr(_Threads.here, "is_piece", False):
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(_Threads.pool.submit(function, item))
            if len(waiting) >= 2 * _Threads.n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()


def _start() -> None:
    """Make a thread of the pool one that runs pieces."""
    _Threads.here.is_piece = True
    _compute_alone()


def _compute_alone() -> None:
    """Keep the tensor library to the calling thread.

    Every thread has to say so: in a new one the matrix products would start as many threads as there are cores,
    whatever the main thread chose, and their bits would depend on the machine.
    """
    import torch  # noqa: PLC0415 - whoever only plans or reads need not wait for it

    torch.set_num_threads(1)
