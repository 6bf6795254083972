"""Progress in a terminal and in a log."""

import os
import re
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import pytest

from mlprune.steps.job import Job, RecordKey
from ray_jobs.driver import progress as progress_module
from ray_jobs.driver.progress import MAX_FAILURES, Progress
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome
from tests.stub_jobs import StubJob


@dataclass(frozen=True)
class NamedJob(StubJob):
    """A job that is only a name."""

    step: ClassVar[str] = "evaluate"
    name: str

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("evaluations", self.name),)


JOBS = [NamedJob(name) for name in "abcd"]


def outcome(job: Job) -> Outcome:
    return Outcome(job.makes[-1], job.step, "host", "worker", "2026-01-01", 2.0, 0.1)


class TerminalReader:
    """Reads a terminal continuously, because its buffer is small."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._seen: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(self._terminal, 4096):
                self._seen.append(data)

    def seen(self) -> str:
        self._thread.join(300)
        return b"".join(self._seen).decode()


def test_a_terminal_shows_a_bar_per_step_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    reader = TerminalReader(ours)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        with Progress(JOBS) as progress:
            for job in JOBS[:3]:
                time.sleep(0.3)
                progress.done(job, outcome(job))
            time.sleep(0.3)
    shown = reader.seen()
    os.close(ours)
    assert "evaluate" in shown
    assert "3/4" in shown
    assert len(re.findall(r"\d:\d\d:\d\d", shown.rpartition("3/4")[2])) == 2  # elapsed and remaining time
    assert "\x1b[" in shown


def test_a_log_has_plain_lines_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "LOG_INTERVAL_S", 0.0)
    with Progress(JOBS) as progress:
        for job in JOBS[:2]:
            progress.done(job, outcome(job))
        progress.failed(JOBS[2], Failure("ValueError", "broken [at] x", is_transient=False, is_damage=False))
        progress.done(JOBS[3], outcome(JOBS[3]))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].endswith("  evaluate 1/4, about 0 s left")
    assert "failed: evaluate c: broken [at] x" in lines
    assert "  evaluate 3/4, about " in lines[-1]
    assert "\x1b" not in err


def test_a_short_run_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(JOBS) as progress:
        for job in JOBS:
            progress.done(job, outcome(job))
    assert capsys.readouterr().err.count("\n") == 1


def test_many_failures_are_not_all_listed(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure("ValueError", "broken", is_transient=False, is_damage=False)
    with Progress(JOBS) as progress:
        for _ in range(MAX_FAILURES + 5):
            progress.failed(JOBS[2], failure)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == MAX_FAILURES + 1
    assert "mlprune query failures" in lines[-1]


@pytest.mark.parametrize(("is_jupyter", "has_widgets"), [(True, True), (True, False), (False, True)])
def test_a_notebook_has_bars_if_it_can_update_them(
    monkeypatch: pytest.MonkeyPatch, *, is_jupyter: bool, has_widgets: bool
) -> None:
    monkeypatch.setattr(progress_module, "find_spec", lambda _: object() if has_widgets else None)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: is_jupyter)
    shown = Progress([])
    assert (shown._bars is not None) == (is_jupyter and has_widgets)
