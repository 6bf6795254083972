"""Runs of a store for the live page."""

from datetime import UTC, datetime
from pathlib import Path

from mlprune.store.store import Store
from ray_jobs.cli.commands.runs.live_runs import runs_reader
from ray_jobs.driver.run_log import RunLog
from tests.ray_jobs.driver.status.test_run_status import begin, log


def test_a_store_without_runs_has_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert runs_reader(store)() == []
    assert not (tmp_path / "store").exists()


def test_a_run_is_followed_until_it_ends(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    run_log, read = begin(store, started=datetime.now(UTC)), runs_reader(store)
    (run,) = read()
    assert (run.name, run.host, run.state, run.last_seen_at, run.advice) == ("tiny", "node", "running", None, "")
    assert [(step.name, step.n_jobs, step.n_done, step.n_failed) for step in run.steps] == [("prune", 4, 0, 0)]
    log(run_log, "a")
    log(run_log, "b", "failed")
    (run,) = read()
    assert [(step.n_done, step.n_failed) for step in run.steps] == [(1, 1)]
    assert len(run.failures) == 1
    run_log.end("failed")
    (run,) = read()
    assert (run.state, run.remaining_s) == ("failed", None)
    assert run.last_seen_at is not None
    assert "retry" in run.advice


def test_the_newest_runs_are_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for n in range(8):
        RunLog(store, f"2026010{n + 1}T000000-abc123").start([])
        store.write_run_file(f"2026010{n + 1}T000000-abc123", "run", {"recipe": str(n), "started_at": "2026-01-01"})
    assert [run.name for run in runs_reader(store)()] == ["7", "6", "5", "4", "3"]
