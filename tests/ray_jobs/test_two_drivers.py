"""Several runs in one store at once, as real processes: they share the jobs, and results do not depend on it."""

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.store.store import Store
from tests.forked_runs import ForkedRun, Gate
from tests.object_store import BUCKET, object_store_server
from tests.run_entries import entries, named_entries
from tests.tiny_recipes import FinishedRun, contents, results

STALE_AFTER_S = 1.0

Start = Callable[..., ForkedRun]


def times_run(store: Store) -> Counter[str]:
    """Job -> number of runs that have done it."""
    rows = entries(store, "job")
    return Counter(f"{row['record_kind']} {row['record_id']}" for row in rows if row["status"] == "done")


def runs_that_worked(store: Store) -> set[str]:
    return {path.split("/")[1] for path, _ in named_entries(store, "job")}


def run_ids(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("runs/*/run.json")}


@pytest.mark.thorough("runs several drivers")
def test_two_runs_of_one_recipe_share_the_jobs_even_if_their_files_have_different_names(
    small_run: FinishedRun, tmp_path: Path, start: Start
) -> None:
    store, n_jobs = tmp_path / "store", len(small_run.plan.jobs)
    other_name = small_run.recipe_path.with_name("another-name.yaml")
    other_name.write_bytes(small_run.recipe_path.read_bytes())
    gate = Gate.closed(tmp_path / "gate", "evaluate")
    waiting = start(small_run.recipe_path, store, gate=gate)
    waiting.until(gate.waiting)
    other = start(other_name, store)
    other.until(lambda: list(store.glob("records/evaluations/*.json")))
    gate.open()
    waiting.finish()
    other.finish()
    assert results(store) == results(small_run.store)
    times = times_run(Store(store))
    assert set(times) == {" ".join(job.makes[-1]) for job in small_run.plan.jobs}
    assert times.total() <= n_jobs + 2
    assert len(runs_that_worked(Store(store))) == 2


@pytest.mark.thorough("runs several drivers")
def test_a_run_finishes_the_jobs_of_a_killed_run(small_run: FinishedRun, tmp_path: Path, start: Start) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "demonstrate")
    killed = start(small_run.recipe_path, store, gate=gate, stale_after_s=STALE_AFTER_S)
    killed.until(gate.waiting)
    killed_id = run_ids(store)
    survivor = start(small_run.recipe_path, store, stale_after_s=STALE_AFTER_S)
    survivor.until(lambda: len(run_ids(store)) == 2)
    killed.send(signal.SIGKILL)
    survivor.finish()
    assert runs_that_worked(Store(store)) == run_ids(store) - killed_id
    assert results(store) == results(small_run.store)


@pytest.mark.thorough("runs several drivers")
def test_a_run_that_was_suspended_repeats_work_and_changes_nothing(
    small_run: FinishedRun, tmp_path: Path, start: Start
) -> None:
    """Like a suspended laptop or a stuck network mount: its claims become stale, then it continues."""
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "demonstrate")
    stopped = start(small_run.recipe_path, store, gate=gate, stale_after_s=STALE_AFTER_S)
    stopped.until(gate.waiting)
    stopped.send(signal.SIGSTOP)
    start(small_run.recipe_path, store, stale_after_s=STALE_AFTER_S).finish()
    assert results(store) == results(small_run.store)
    gate.open()
    stopped.send(signal.SIGCONT)
    stopped.finish()
    assert results(store) == results(small_run.store)


@pytest.mark.slow
def test_five_runs_in_one_store_do_every_job_once(tiny_run: FinishedRun, tmp_path: Path, start: Start) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    runs = [start(tiny_run.recipe_path, store, gate=gate) for _ in range(5)]
    runs[0].until(lambda: len(gate.waiting()) == len(runs))  # each of them has a job of its own
    gate.open()
    for run in runs:
        run.finish()
    assert results(store) == results(tiny_run.store)
    times = times_run(Store(store))
    assert len(times) == len(tiny_run.plan.jobs)
    assert times.total() <= len(tiny_run.plan.jobs) + len(runs)
    assert len(runs_that_worked(Store(store))) == len(runs)


@pytest.mark.slow
def test_two_runs_share_an_object_store(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    gate = Gate.closed(tmp_path / "gate", "evaluate")
    with object_store_server() as server:
        uri = f"s3://{BUCKET}/store"
        runs = [start(small_run.recipe_path, uri, gate=gate, environment=server.environment) for _ in range(2)]
        runs[0].until(lambda: len(gate.waiting()) == len(runs))
        gate.open()
        for run in runs:
            run.finish()
        files = server.contents("store/")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        times = times_run(Store(uri))
    expected = contents(small_run.store)
    assert {name: data for name, data in files.items() if not name.startswith(("runs/", "catalog"))} == expected
    assert len(times) == len(small_run.plan.jobs)
    assert times.total() <= len(small_run.plan.jobs) + 4
