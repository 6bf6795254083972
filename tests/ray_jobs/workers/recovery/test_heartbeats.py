"""Heartbeats: a process is silent after a stated time, and ended only if it is stopped."""

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count

import psutil
import pytest

from mlprune.errors import BadInputError
from ray_jobs.workers.recovery.heartbeats import (
    SILENT_AFTER_S,
    SILENT_AFTER_VARIABLE,
    Heartbeats,
    Place,
    end_if_stopped,
    silent_after_s,
)

LIMIT_S = 60.0
PLACE = Place("node", 7)


class Workers:
    """Pretended workers that answer unless they hang, and a pretended clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hanging: set[str] = set()
        self.dead: set[str] = set()
        self._asked: dict[int, str] = {}
        self._numbers = count()
        self.heartbeats: Heartbeats[int] = Heartbeats(
            self._ask, self._read, silent_after_s=LIMIT_S, clock=lambda: self.now
        )

    def _ask(self, name: str) -> int:
        number = next(self._numbers)
        self._asked[number] = name
        return number

    def _read(self, replies: list[int]) -> dict[int, Place | None]:
        arrived = [reply for reply in replies if self._asked[reply] not in self.hanging]
        return {reply: None if self._asked[reply] in self.dead else PLACE for reply in arrived}

    def found(self, seconds: float, *names: str) -> dict[str, float]:
        """Let time pass in steps of a second; return the silent workers -> when they were found first."""
        found: dict[str, float] = {}
        for _ in range(int(seconds)):
            self.now += 1
            for name in self.heartbeats.silent(names):
                found.setdefault(name, self.now)
        return found


def test_a_worker_that_answers_is_never_silent() -> None:
    assert Workers().found(10 * LIMIT_S, "a", "b") == {}


def test_a_worker_that_hangs_is_found_after_the_stated_time_and_the_others_are_not() -> None:
    workers = Workers()
    assert workers.found(100, "a", "b") == {}
    workers.hanging.add("a")
    found = workers.found(2 * LIMIT_S, "a", "b")
    assert found.keys() == {"a"}
    interval_s = workers.heartbeats.interval_s
    assert 100 + LIMIT_S - interval_s <= found["a"] <= 100 + LIMIT_S + 2 * interval_s


def test_a_worker_that_goes_on_in_time_is_not_silent() -> None:
    workers = Workers()
    workers.found(100, "a")
    for _ in range(5):
        workers.hanging.add("a")
        assert workers.found(LIMIT_S - 2 * workers.heartbeats.interval_s, "a") == {}
        workers.hanging.clear()
        assert workers.found(2 * workers.heartbeats.interval_s, "a") == {}


def test_a_worker_that_is_busy_is_examined_again_after_the_same_time() -> None:
    workers = Workers()
    workers.found(100, "a")
    workers.hanging.add("a")
    first = workers.found(2 * LIMIT_S, "a")["a"]
    again = workers.found(2 * LIMIT_S, "a")["a"]
    assert again - first >= LIMIT_S


def test_a_worker_that_never_answered_or_has_died_is_left_to_others() -> None:
    workers = Workers()
    workers.hanging.add("starting")
    workers.dead.add("dead")
    assert workers.found(5 * LIMIT_S, "starting", "dead") == {}


def test_a_worker_that_was_replaced_is_forgotten() -> None:
    workers = Workers()
    workers.found(100, "a")
    workers.hanging.add("a")
    workers.found(LIMIT_S / 2, "a")
    assert workers.found(3 * LIMIT_S, "b") == {}


@pytest.mark.parametrize(("text", "expected"), [("", SILENT_AFTER_S), ("2.5", 2.5)])
def test_the_time_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: float) -> None:
    monkeypatch.setenv(SILENT_AFTER_VARIABLE, text)
    assert silent_after_s() == expected


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan"])
def test_another_time_is_bad_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SILENT_AFTER_VARIABLE, text)
    with pytest.raises(BadInputError) as caught:
        silent_after_s()
    assert (caught.value.context["variable"], caught.value.context["got"]) == (SILENT_AFTER_VARIABLE, text)


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    """A process that computes without end."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as started:
        yield psutil.Process(started.pid)
        started.kill()


def test_a_busy_process_is_not_ended_and_a_stopped_one_is(process: psutil.Process) -> None:
    assert not end_if_stopped(process.pid, title=sys.executable)
    process.suspend()
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    assert not end_if_stopped(process.pid)
    assert process.status() == psutil.STATUS_STOPPED
    assert end_if_stopped(process.pid, title=sys.executable)
    assert process.wait(60) is not None


def test_a_process_that_is_gone_is_not_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert not end_if_stopped(ended.pid, title="")
