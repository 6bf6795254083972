"""The workplace of a run, and its progress."""

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from mlprune.errors import BadInputError
from mlprune.processes.job_parts import JobParts
from mlprune.recipe.models import Recipe
from mlprune.steps.job import Job, RecordKey
from ray_jobs.driver import progress as progress_module
from ray_jobs.driver.progress import MAX_FAILURES, Progress
from ray_jobs.driver.workplace import local_ray_settings, machines, model_files
from ray_jobs.workers import cluster, cluster_nodes
from ray_jobs.workers.node_resources import LocalRay
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun


def test_all_files_that_a_run_reads_are_described_and_the_weights_are_not_hashed(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model", "xglm")
    files = model_files(model)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files.sizes.keys()
    assert files.sizes["config.json"] == (model / "config.json").stat().st_size
    assert "config.json" in files.hashes
    assert "model.safetensors" not in files.hashes


def ray_node(n_cpus: float, *, zone: str = "x", is_alive: bool = True) -> dict[str, object]:
    identity = {"NodeID": "abc", "NodeManagerHostname": "host", "Labels": {"zone": zone}, "Alive": is_alive}
    return {**identity, "Resources": {"CPU": n_cpus, "memory": 1.0, "node:127.0.0.1": 1.0}}


def test_the_live_nodes_of_a_running_cluster_are_listed_while_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    @contextmanager
    def connected(address: str) -> Iterator[None]:
        events.append(address)
        yield
        events.append("closed")

    def ray_nodes() -> list[dict[str, object]]:
        events.append("listed")
        return [ray_node(4.0), ray_node(8.0, is_alive=False), ray_node(16.0, zone="y")]

    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(cluster_nodes.ray, "nodes", ray_nodes)
    with machines("ray://head:10001", {"zone": "x"}) as available:
        assert [node.n_cpus for node in available.nodes] == [4.0]
        assert available.node_list is not None
    assert events == ["ray://head:10001", "listed", "closed"]


def with_compute(small_run: FinishedRun, **compute: object) -> Recipe:
    recipe = small_run.plan.recipe
    return recipe.model_copy(update={"compute": recipe.compute.model_copy(update=compute)})


def test_a_local_ray_spills_below_the_folder_of_the_recipe(small_run: FinishedRun, tmp_path: Path) -> None:
    recipe = with_compute(small_run, spill_dir=str(tmp_path / "spilled" / "objects"), object_store_gib=0.5)
    assert local_ray_settings(recipe, address="local") == LocalRay(0.5, tmp_path / "spilled" / "objects")
    assert (tmp_path / "spilled" / "objects").is_dir()
    assert local_ray_settings(with_compute(small_run), address="local") == LocalRay()


def test_a_folder_that_cannot_be_created_is_bad_input(small_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match=r"spill_dir"):
        local_ray_settings(with_compute(small_run, spill_dir=str(tmp_path / "file")), address="local")


def test_a_cluster_keeps_its_own_settings(
    small_run: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = with_compute(small_run, spill_dir=str(tmp_path / "spilled"))
    assert local_ray_settings(recipe, address="auto") == LocalRay()
    assert "ray start" in caplog.text
    assert not (tmp_path / "spilled").exists()


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


def test_a_terminal_shows_one_line_in_place_with_the_share_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    reader = TerminalReader(ours)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(progress_module, "REFRESHES_PER_S", 20.0)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        with Progress(JOBS) as progress:
            for job in JOBS[:3]:
                time.sleep(0.3)
                progress.done(job, outcome(job))
            time.sleep(0.3)
    shown = reader.seen()
    os.close(ours)
    last = shown.rpartition("evaluate 3/4")
    assert re.search(r"[1-9]\d %  $", last[0])
    assert re.match(r", \d:\d\d, about \d+ s left", last[2])
    assert "\x1b[" in shown
    assert shown.count("\n") == 1  # the line is drawn again in place


def test_a_log_has_plain_lines_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "LOG_INTERVAL_S", 0.0)
    monkeypatch.setattr(progress_module, "REFRESHES_PER_S", 20.0)
    with Progress(JOBS) as progress:
        for job in JOBS[:2]:
            progress.done(job, outcome(job))
            time.sleep(0.3)
        progress.failed(JOBS[2], Failure("ValueError", "broken [at] x", is_transient=False, is_damage=False))
        progress.done(JOBS[3], outcome(JOBS[3]))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert re.fullmatch(r" *\d+ %  evaluate 1/4, 0:00, about \d s left", lines[0])
    assert "failed: evaluate c: broken [at] x" in lines
    assert "evaluate 3/4, " in lines[-1]
    assert "\x1b" not in err


def test_a_log_has_a_line_every_interval_while_jobs_finish_and_few_while_none_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "LOG_INTERVAL_S", 0.2)
    monkeypatch.setattr(progress_module, "MAX_LOG_INTERVAL_S", 30.0)
    monkeypatch.setattr(progress_module, "REFRESHES_PER_S", 20.0)
    with Progress(JOBS) as progress:
        progress.done(JOBS[0], outcome(JOBS[0]))
        time.sleep(1.5)
        assert capsys.readouterr().err.count("\n") == 1
        progress.done(JOBS[1], outcome(JOBS[1]))
        time.sleep(1.5)
        assert capsys.readouterr().err.count("\n") == 1


def test_a_finished_run_is_100_percent(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(JOBS) as progress:
        for job in JOBS:
            progress.done(job, outcome(job))
    assert capsys.readouterr().err == "100 %  4/4 jobs, 0:00\n"


def test_a_short_run_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(JOBS) as progress:
        for job in JOBS:
            progress.done(job, outcome(job))
    assert capsys.readouterr().err.count("\n") == 1


BLOCKS = JobParts("evaluate", "block", 5, 18, 5 / 18, part_share=1 / 18, spent_s=100.0)
"""A job that has taken 20 s for each of five blocks."""


def test_a_line_says_which_part_of_a_job_runs_and_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "REFRESHES_PER_S", 50.0)
    with Progress(JOBS[:1], parts=lambda: {JOBS[0].makes[-1]: BLOCKS}) as progress:
        time.sleep(0.1)
    cost, line = capsys.readouterr().err.splitlines()
    assert cost == "evaluate: a block takes 20 s; 13 more, about 4 min"  # once
    assert re.fullmatch(r" *\d+ %  evaluate 0/1 \(block 6 of 18\), 0:00, about 4 min left", line)
    assert progress is not None


@pytest.mark.parametrize(
    "parts",
    [replace(BLOCKS, spent_s=0.0, n_done=0, share=0.0), replace(BLOCKS, kind="text"), replace(BLOCKS, spent_s=1.0)],
)
def test_the_cost_of_a_block_is_not_printed_before_the_first_one_for_other_parts_and_for_short_jobs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: JobParts
) -> None:
    monkeypatch.setattr(progress_module, "REFRESHES_PER_S", 50.0)
    with Progress(JOBS[:1], parts=lambda: {JOBS[0].makes[-1]: parts}):
        time.sleep(0.1)
    assert "takes" not in capsys.readouterr().err


def test_a_resumed_run_begins_at_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    found = replace(BLOCKS, n_done=9, share=0.5, found=0.5, spent_s=0.0)
    with Progress(JOBS[:1], parts=lambda: {JOBS[0].makes[-1]: found}):
        pass
    assert capsys.readouterr().err == " 50 %  evaluate 0/1 (block 10 of 18), 0:00\n"


COUNTS = ["observe 3/8", "sweep 2/12", "evaluate 11/120"]
DETAILS = [" (text 120 of 4096)", " (block 16 of 18)", " (evaluation 12 of 90)"]


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (None, "observe 3/8 (text 120 of 4096), sweep 2/12 (block 16 of 18), evaluate 11/120 (evaluation 12 of 90)"),
        (70, "observe 3/8, sweep 2/12, evaluate 11/120 (evaluation 12 of 90)"),
        (50, "observe 3/8, sweep 2/12, evaluate 11/120"),
        (35, "observe 3/8, sweep 2/12 and 1 more"),
        (10, "observe 3/8 and 2 more"),
    ],
)
def test_a_line_that_is_too_long_loses_parts_before_steps(width: int | None, expected: str) -> None:
    assert progress_module.fitting_text(COUNTS, DETAILS, width=width) == expected


def test_the_line_of_a_long_sweep_fits_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    reader = TerminalReader(ours)
    long = replace(BLOCKS, n=124, n_done=100, share=100 / 124, spent_s=100 * 3600.0)
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")
        with Progress(JOBS, parts=lambda: {JOBS[0].makes[-1]: long}) as progress:
            progress.done(JOBS[1], outcome(JOBS[1]))
    shown = reader.seen()
    os.close(ours)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    assert max(map(len, lines)) < 80
    assert any("evaluate 1/4 (block 101 of 124), 0:00, about " in line for line in lines)


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
    assert (shown._bar is not None) == (is_jupyter and has_widgets)
