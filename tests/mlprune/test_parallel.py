"""Pieces side by side: order, bounds, errors, nesting, and one thread of the tensor library each."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from mlprune.parallel import n_threads, parallel_map, set_worker_threads

pytestmark = pytest.mark.usefixtures("own_threads")


@pytest.fixture
def own_threads() -> Iterator[None]:
    yield
    set_worker_threads(1)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_results_come_in_the_order_of_the_items_whoever_is_ready_first(n: int) -> None:
    set_worker_threads(n)

    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert n_threads() == n
    assert list(parallel_map(slow_first, range(12))) == [item * item for item in range(12)]
    assert not list(parallel_map(slow_first, ()))


def test_pieces_run_at_the_same_time() -> None:
    set_worker_threads(2)
    meeting = threading.Barrier(2, timeout=20)
    assert sorted(parallel_map(lambda _: meeting.wait(), range(2))) == [0, 1]


def test_one_thread_works_in_the_thread_that_asks_and_draws_no_item_ahead() -> None:
    drawn = []
    results = parallel_map(lambda _: threading.get_ident(), (drawn.append(item) for item in range(3)))
    assert next(results) == threading.get_ident()
    assert len(drawn) == 1


def test_no_more_than_two_items_a_thread_are_drawn_ahead() -> None:
    set_worker_threads(2)
    drawn = []

    def items() -> Iterator[int]:
        for item in range(20):
            drawn.append(item)
            yield item

    results = parallel_map(lambda item: item, items())
    for n_taken in range(1, 20):
        next(results)
        assert len(drawn) <= n_taken + 2 * n_threads()


def test_pieces_inside_a_piece_run_one_after_another_in_its_thread() -> None:
    set_worker_threads(2)

    def nested(_item: int) -> tuple[int, set[int]]:
        return threading.get_ident(), set(parallel_map(lambda _: threading.get_ident(), range(5)))

    for outer, inner in parallel_map(nested, range(4)):
        assert inner == {outer}
        assert outer != threading.get_ident()


@pytest.mark.parametrize("n", [1, 2])
def test_an_exception_comes_where_its_result_is_due_and_no_piece_is_left_running(n: int) -> None:
    set_worker_threads(n)
    started, ended = [], []

    def failing(item: int) -> int:
        started.append(item)
        time.sleep(0.01)
        ended.append(item)
        if item == 1:
            raise KeyError(item)
        return item

    results = parallel_map(failing, range(50))
    assert next(results) == 0
    with pytest.raises(KeyError):
        list(results)
    assert sorted(started) == sorted(ended)
    assert len(started) < 10
    assert list(parallel_map(str, range(3))) == ["0", "1", "2"]


def test_an_exception_of_the_items_ends_the_work() -> None:
    set_worker_threads(2)

    def items() -> Iterator[int]:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(parallel_map(str, items()))


def test_results_that_nobody_wants_any_more_are_not_computed() -> None:
    set_worker_threads(2)
    started: list[int] = []
    results = parallel_map(started.append, range(100))
    next(results)
    results.close()  # type: ignore[attr-defined]
    n_started = len(started)
    time.sleep(0.02)
    assert len(started) == n_started <= 4


@pytest.mark.parametrize("n", [1, 2])
def test_every_piece_computes_with_one_thread_of_the_tensor_library(n: int) -> None:
    torch.set_num_threads(2)
    set_worker_threads(n)
    meeting = threading.Barrier(n, timeout=20)

    def seconds(_item: int) -> float:
        meeting.wait()
        own, matrix = time.thread_time(), torch.ones(500, 500)
        for _ in range(30):
            matrix @ matrix
        return time.thread_time() - own

    everything = time.process_time()
    pieces = sum(parallel_map(seconds, range(n)))
    everything = time.process_time() - everything
    assert everything < 1.3 * pieces + 0.02
    assert list(parallel_map(lambda _: torch.get_num_threads(), range(n))) == [1] * n
