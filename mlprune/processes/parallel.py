"""Parallel work in one process, in threads.

An item is computed by one thread, and that thread computes with one thread of the tensor library. So the bits of a
result do not depend on how many items are computed at the same time; more cores compute more items. The entry point of
a process sets the number of threads, and no other module asks the machine for its cores.
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
    local = local()
    """`is_worker` is set in threads of the pool."""


def set_worker_threads(n: int) -> None:
    """Set the number of items that this process computes at a time.

    The calling thread, which computes the items if n is 1, uses one thread of the tensor library from now on.

    Args:
        n: at least 1. No `parallel_map` may be running.
    """
    assert n >= 1, "n must be at least 1"
    _limit_tensor_threads()
    if _Threads.pool is not None:
        _Threads.pool.shutdown()
    _Threads.n = n
    _Threads.pool = ThreadPoolExecutor(n, initializer=_start_worker) if n > 1 else None


def n_threads() -> int:
    """Return the number of items that this process computes at a time."""
    return _Threads.n


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to items in parallel and yield the results in the order of the items.

    Items are drawn as they are needed, at most two per thread ahead of the results. Calls may be nested: an inner call
    runs sequentially. An exception is raised in place of the item's result, after the running items have ended.

    Args:
        function: thread-safe.
        items: may be drawn ahead of the results.
    """
    if _Threads.pool is None or getattr(_Threads.local, "is_worker", False):
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


def _start_worker() -> None:
    """Initialise a thread of the pool."""
    _Threads.local.is_worker = True
    _limit_tensor_threads()


def _limit_tensor_threads() -> None:
    """Let the tensor library use only the calling thread.

    Every thread has to set this. In a new thread, matrix products would otherwise start as many threads as there are
    cores, whatever the main thread has set, and their bits would depend on the machine.
    """
    import torch  # noqa: PLC0415 - commands that only plan or read need not wait for it

    torch.set_num_threads(1)
