"""Parallel maps: order, bounds, errors, nesting, and one thread of the tensor library per item."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from mlprune.processes.parallel import n_threads, parallel_map, set_worker_threads

pytestmark = pytest.mark.usefixtures("own_threads")


@pytest.fixture
def own_threads() -> Iterator[None]:
    yield
    set_worker_threads(1)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_results_come_in_the_order_of_the_items_whichever_is_ready_first(n: int) -> None:
    set_worker_threads(n)

    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert n_threads() == n
    assert list(parallel_map(slow_first, range(12))) == [item * item for item in range(12)]
    assert not list(parallel_map(slow_first, ()))


def test_items_are_computed_at_the_same_time() -> None:
    set_worker_threads(2)
    meeting = threading.Barrier(2, timeout=300)
    assert sorted(parallel_map(lambda _: meeting.wait(), range(2))) == [0, 1]


def test_with_one_thread_the_caller_computes_and_no_item_is_drawn_ahead() -> None:
    drawn = []
    results = parallel_map(lambda _: threading.get_ident(), (drawn.append(item) for item in range(3)))
    assert next(results) == threading.get_ident()
    assert len(drawn) == 1


def test_at_most_two_items_per_thread_are_drawn_ahead() -> None:
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


def test_a_nested_map_runs_sequentially_in_its_thread() -> None:
    set_worker_threads(2)

    def nested(_item: int) -> tuple[int, set[int]]:
        return threading.get_ident(), set(parallel_map(lambda _: threading.get_ident(), range(5)))

    for outer, inner in parallel_map(nested, range(4)):
        assert inner == {outer}
        assert outer != threading.get_ident()


@pytest.mark.parametrize("n", [1, 2])
def test_an_exception_is_raised_in_place_of_its_result_and_no_item_is_still_running(n: int) -> None:
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


def test_an_exception_of_the_iterable_ends_the_map() -> None:
    set_worker_threads(2)

    def items() -> Iterator[int]:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(parallel_map(str, items()))


def test_closing_the_results_stops_the_computation() -> None:
    set_worker_threads(2)
    started: list[int] = []
    results = parallel_map(started.append, range(100))
    next(results)
    results.close()  # type: ignore[attr-defined]
    n_started = len(started)
    time.sleep(0.02)
    assert len(started) == n_started <= 4


@pytest.mark.parametrize("n", [1, 2])
def test_every_item_is_computed_with_one_thread_of_the_tensor_library(n: int) -> None:
    torch.set_num_threads(2)
    set_worker_threads(n)
    meeting = threading.Barrier(n, timeout=300)

    def seconds(_item: int) -> float:
        meeting.wait()
        started, matrix = time.thread_time(), torch.ones(500, 500)
        for _ in range(30):
            matrix @ matrix
        return time.thread_time() - started

    process_s = time.process_time()
    items_s = sum(parallel_map(seconds, range(n)))
    process_s = time.process_time() - process_s
    assert process_s < 1.3 * items_s + 0.02
    assert list(parallel_map(lambda _: torch.get_num_threads(), range(n))) == [1] * n
