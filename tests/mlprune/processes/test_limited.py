"""Children with limits: results, errors, and what ends them."""

import os
import signal
import sys
import time
from dataclasses import replace

import psutil
import pytest

from mlprune.processes.limited import (
    HAS_LIMITS,
    LimitError,
    Limits,
    MemoryLimitError,
    TimeLimitError,
    is_memory_error,
    run_limited,
)

SMALL = Limits(processor_s=0.2, memory_bytes=64 << 20)
pytestmark = [
    pytest.mark.skipif(not HAS_LIMITS, reason="the system has no limits of memory"),
    pytest.mark.usefixtures("children_with_limits"),
]


def _loop() -> None:
    while True:
        pass


def _grow() -> None:
    kept = []
    while True:
        kept.append(bytes(1 << 20))  # zeros that the system need not write, so that it takes no time


def _grow_and_wrap() -> None:
    try:
        _grow()
    except MemoryError as err:
        raise ValueError("wrong") from err


def test_a_result_comes_back_and_changes_of_memory_do_not() -> None:
    changed: list[int] = []
    assert run_limited(lambda: [changed.append(1), os.getpid() != parent, (1, 2)], SMALL) == [None, True, [1, 2]]
    assert changed == []


parent = os.getpid()


def test_a_child_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def speak() -> None:
        print("out")
        os.write(2, b"err")
        sys.stderr.flush()

    run_limited(speak, SMALL)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "processor_s", "error"),
    [(_loop, 0.2, TimeLimitError), (_grow, 60, MemoryLimitError), (_grow_and_wrap, 60, MemoryLimitError)],
)
def test_a_child_is_ended_at_its_limits(function, processor_s: float, error: type[LimitError]) -> None:
    with pytest.raises(error):
        run_limited(function, replace(SMALL, processor_s=processor_s))


def test_a_child_that_waits_is_ended_by_the_clock() -> None:
    begin = time.monotonic()
    with pytest.raises(TimeLimitError):
        run_limited(lambda: time.sleep(60), Limits(processor_s=0.05, memory_bytes=64 << 20))
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
def test_a_child_that_dies_is_an_error(number: signal.Signals) -> None:
    with pytest.raises(LimitError):
        run_limited(lambda: os.kill(os.getpid(), number), SMALL)


def test_an_error_of_the_function_is_an_error_here() -> None:
    with pytest.raises(LimitError):
        run_limited(lambda: 1 / 0, SMALL)


def test_an_interrupt_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = psutil.Process().children()
    monkeypatch.setattr("mlprune.processes.limited._read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_limited(_loop, Limits(processor_s=60, memory_bytes=64 << 20))
    assert psutil.Process().children() == before


def test_a_lack_of_memory_is_found_in_the_causes_of_an_error() -> None:
    with pytest.raises(ValueError, match="wrong") as caught:
        _raise_from(MemoryError())
    assert is_memory_error(caught.value)
    assert not is_memory_error(ValueError())


def _raise_from(cause: Exception) -> None:
    raise ValueError("wrong") from cause
