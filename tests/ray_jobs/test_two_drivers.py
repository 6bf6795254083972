"""Two runs in one store at once, as real processes: the work is shared, and nothing depends on who did it."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlprune.storage import Store
from tests.forked_runs import ForkedRun
from tests.object_store import BUCKET, object_store_server
from tests.tiny_recipes import FinishedRun, contents

ROOT = Path(__file__).parents[2]
PATIENCE_S = 150.0
STALE_AFTER_S = 3.0

Start = Callable[..., ForkedRun]


@pytest.fixture
def start(small_run: FinishedRun, tmp_path: Path) -> Iterator[Start]:
    """Starts runs of the small recipe, which end with the test."""
    runs: list[ForkedRun] = []

    def start_one(store: Path | str, *, slow_s: float = 0.0, environment: dict[str, str] | None = None) -> ForkedRun:
        log = tmp_path / f"{len(runs)}.log"
        options = {"slow_s": slow_s, "stale_after_s": STALE_AFTER_S, "environment": environment}
        runs.append(ForkedRun(small_run.recipe_path, store, log=log, **options))
        return runs[-1]

    yield start_one
    for run in runs:
        run.end()


def results(store: Path) -> dict[str, bytes]:
    """All but how the runs went and the catalog's file."""
    found = contents(Store(store))
    return {path: data for path, data in found.items() if not path.startswith(("runs/", "catalog.duckdb"))}


def times_run(store: Store) -> Counter[str]:
    """Job -> how often some run has done it."""
    rows = [store.read_json(path) for path in store.list("runs") if "/job-" in path]
    return Counter(f"{row['record_kind']} {row['record_id']}" for row in rows if row["status"] == "done")


def runs_that_worked(store: Store) -> set[str]:
    return {path.split("/")[1] for path in store.list("runs") if "/job-" in path}


def test_two_runs_at_once_share_the_work(small_run: FinishedRun, tmp_path: Path, start: Start) -> None:
    store, n_jobs = tmp_path / "store", len(small_run.plan.jobs)
    runs = [start(store, slow_s=0.15) for _ in range(2)]
    for run in runs:
        run.finish(PATIENCE_S)
    assert results(store) == contents(small_run.store)
    times = times_run(Store(store))
    assert len(times) == n_jobs
    assert times.total() <= n_jobs + 2
    assert len(runs_that_worked(Store(store))) == 2


def test_a_command_with_a_recipe_of_another_name_shares_as_well(
    small_run: FinishedRun, tmp_path: Path, start: Start
) -> None:
    """The command line as users call it; both recipes ask for the same work."""
    store = tmp_path / "store"
    other = small_run.recipe_path.with_name("another-name.yaml")
    other.write_bytes(small_run.recipe_path.read_bytes())
    command = [sys.executable, "-m", "ray_jobs.cli", "run", str(other), "--store", str(store), "--address", "none"]
    run = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
    try:
        start(store, slow_s=0.5).finish(PATIENCE_S)
        _, said = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, said[-3000:]
    finally:
        run.kill()
        run.wait()
    assert results(store) == contents(small_run.store)
    assert set(times_run(Store(store))) == {" ".join(job.makes[-1]) for job in small_run.plan.jobs}


def test_a_run_finishes_the_work_of_one_that_was_killed(small_run: FinishedRun, tmp_path: Path, start: Start) -> None:
    store = tmp_path / "store"
    killed = start(store, slow_s=60.0)
    killed.until(lambda: list(store.glob("claims/*/*.json")), PATIENCE_S)
    survivor = start(store)
    survivor.until(lambda: list(store.glob("runs/*/run.json"))[1:], PATIENCE_S)
    killed.send(signal.SIGKILL)
    assert "gave no sign of life" in survivor.finish(PATIENCE_S)
    assert results(store) == contents(small_run.store)


def test_a_run_that_only_stood_still_repeats_work_and_changes_nothing(
    small_run: FinishedRun, tmp_path: Path, start: Start
) -> None:
    """As a suspended laptop or a stuck network mount: its claims go stale, and it comes back."""
    store = tmp_path / "store"
    stopped = start(store, slow_s=1.0)
    stopped.until(lambda: list(store.glob("claims/*/*.json")), PATIENCE_S)
    stopped.send(signal.SIGSTOP)
    assert "gave no sign of life" in start(store).finish(PATIENCE_S)
    stopped.send(signal.SIGCONT)
    stopped.finish(PATIENCE_S)
    assert results(store) == contents(small_run.store)


@pytest.mark.slow
def test_two_runs_share_an_object_store(small_run: FinishedRun, monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    with object_store_server() as server:
        uri = f"s3://{BUCKET}/store"
        runs = [start(uri, slow_s=0.3, environment=server.environment) for _ in range(2)]
        for run in runs:
            run.finish(PATIENCE_S)
        found = server.contents("store/")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        times = times_run(Store(uri))
    expected = contents(small_run.store)
    assert {name: data for name, data in found.items() if not name.startswith(("runs/", "catalog"))} == expected
    assert len(times) == len(small_run.plan.jobs)
    assert times.total() <= len(small_run.plan.jobs) + 4
