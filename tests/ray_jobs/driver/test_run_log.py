"""The log of a run: its files, writing many entries together, and writing them later when the disk was full."""

import errno
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.check import check
from catalog.store import Catalog
from mlprune.errors import StoreError
from mlprune.store.run_log_files import read_run_file
from mlprune.store.run_log_files import run_files as run_log_run_files
from mlprune.store.run_status import StatusReader
from mlprune.store.store import Store
from ray_jobs.driver import run_log as run_log_module
from ray_jobs.driver.run_log import RecordedRecipe, RunLog, begin_run, recorded_run
from ray_jobs.process.environment import Environment, this_environment
from ray_jobs.workers.worker import Stopwatch
from tests.ray_jobs.driver.scripted_workers import BROKEN, BatchedJob, NamedJob, outcome_of
from tests.records import made_up_record
from tests.run_entries import entries


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def read(store: Store, kind: str) -> list[dict[str, Any]]:
    """Contents of the unpacked files of a kind, in order."""
    paths = [path for path in store.list("runs") if path.rpartition("/")[2].startswith(kind)]
    return [store.read_json(path) for path in sorted(paths)]


def contents(store: Store) -> list[dict[str, Any]]:
    """Contents of all files, packed or not."""
    files = run_log_run_files(store)
    return [value for path in (*files.single, *files.packs) for _, value in read_run_file(store, path)]


def log_done(run_log: RunLog, name: str) -> None:
    job = NamedJob(name)
    run_log.log_attempt(job, outcome_of(job), status="done", attempt=1)


def test_a_run_begins_with_its_command_address_recipe_and_environment(store: Store) -> None:
    recipe = {"recipe": "tiny", "recipe_id": "0" * 20, "recipe_yaml": "name: tiny\n"}
    run_id = begin_run(
        store, "run", address="auto", recipe=RecordedRecipe(*recipe.values(), models={"model": "/model"})
    )
    (row,) = read(store, "run")
    assert (row["run_id"], row["command"], row["address"]) == (run_id, "run", "auto")
    assert {name: row[name] for name in recipe} == recipe
    assert row["models"] == {"model": "/model"}
    assert row["environment_id"] == this_environment().id
    assert [environment["environment_id"] for environment in read(store, "environment")] == [row["environment_id"]]


def test_planned_jobs_are_counted_by_step(store: Store) -> None:
    RunLog(store, "run").start([NamedJob("a"), NamedJob("b")])
    (row,) = read(store, "planned")
    assert row["jobs"] == {"prune": 2}


def test_an_attempt_has_its_outcome_its_number_and_its_memory_level(store: Store) -> None:
    job = BatchedJob("a").with_less_memory()
    assert job is not None
    RunLog(store, "run").log_attempt(job, outcome_of(job, BROKEN), status="lost", attempt=2)
    (row,) = read(store, "job")
    assert (row["run_id"], row["record_kind"], row["record_id"]) == ("run", "masks", "a")
    assert (row["status"], row["attempt"], row["retries"], row["error"]) == ("lost", 2, 1, "ValueError")
    assert (row["batch_tokens"], row["memory_level"], row["makes"]) == (64, "half batches", [["masks", "a"]])
    assert (row["host"], row["worker"], row["elapsed_s"]) == ("host", "worker", 0.5)


def test_a_failure_has_what_was_worked_on_and_its_traceback(store: Store) -> None:
    failure = replace(BROKEN, work="facts fr test", traceback="Traceback ...\nValueError: broken\n")
    RunLog(store, "run").log_failure(outcome_of(NamedJob("a"), failure), failure, attempts=1)
    (row,) = read(store, "failure")
    assert (row["work"], row["traceback"]) == (failure.work, failure.traceback)


def test_the_environment_of_a_worker_is_written_once(store: Store) -> None:
    run_log = RunLog(store, "run")
    for name in "ab":
        run_log.log_record(Stopwatch().outcome(("masks", name), step="rescore", worker="worker-0"))
    run_log.flush()
    assert len(read(store, "environment")) == 1
    assert {row["environment_id"] for row in entries(store, "job")} == {this_environment().id}


def test_the_id_of_an_environment_is_not_computed_for_every_attempt(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_log, n_computed = RunLog(store, "run"), []
    monkeypatch.setattr(Environment, "id", property(lambda _: n_computed.append(1) or "0" * 20))
    for number in range(50):
        outcome = outcome_of(NamedJob(str(number)))
        environment = deepcopy(this_environment())  # each outcome of another process brings its own copy
        run_log.log_attempt(NamedJob("a"), replace(outcome, environment=environment), status="done", attempt=1)
    assert len(n_computed) < 5
    assert len(read(store, "environment")) == 1


def test_a_later_round_has_a_folder_of_its_own(store: Store) -> None:
    RunLog(store, "run", round_=2).end("failed", n_done=1, n_failed=1)
    (path,) = store.list("runs")
    assert path == "runs/run-2/ended.json"
    row = store.read_json(path)
    assert (row["how"], row["n_done"], row["n_failed"]) == ("failed", 1, 1)


def test_many_files_are_packed_and_no_entry_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log_module, "PACK_SIZE", 4)
    run_log = RunLog(store, "run")
    for name in "abcdefgh":
        log_done(run_log, name)
    job = NamedJob("x")
    run_log.log_failure(outcome_of(job, BROKEN), BROKEN, attempts=1)
    assert len(run_log_run_files(store).packs) == 2
    assert sorted(value["record_id"] for value in contents(store)) == [*"abcdefgh", "x"]


@pytest.fixture
def no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an hour pass before the log is written because of the time."""
    monkeypatch.setattr(run_log_module, "WRITE_INTERVAL_S", 3600.0)


def test_attempts_that_succeed_are_written_together_a_moment_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log_module, "WRITE_INTERVAL_S", 0.05)
    run_log = RunLog(store, "run")
    for name in "abc":
        log_done(run_log, name)
    deadline = time.monotonic() + 300
    while len(entries(store, "job")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [row["record_id"] for row in entries(store, "job")] == ["a", "b", "c"]


@pytest.mark.usefixtures("no_timer")
def test_a_failure_is_written_at_once_with_what_was_before_it(store: Store) -> None:
    run_log, job = RunLog(store, "run"), NamedJob("x")
    log_done(run_log, "a")
    assert entries(store, "job") == []
    run_log.log_attempt(job, outcome_of(job, BROKEN), status="lost", attempt=1)
    assert [row["status"] for row in entries(store, "job")] == ["done", "lost"]
    log_done(run_log, "b")
    run_log.log_failure(outcome_of(job, BROKEN), BROKEN, attempts=2)
    assert [row["record_id"] for row in entries(store, "job")] == ["a", "x", "b"]
    assert [row["record_id"] for row in entries(store, "failure")] == ["x"]


@pytest.mark.thorough("starts runs or workers of its own")
@pytest.mark.usefixtures("no_timer")
def test_a_killed_run_loses_successful_attempts_of_the_last_moment_and_its_catalog_is_sound(store: Store) -> None:
    run_log = RunLog(store, begin_run(store, "run"))
    record = made_up_record("masks")
    store.write_record(record)
    log_done(run_log, record.id)
    del run_log  # nothing more is written, as after SIGKILL
    with Catalog.open(store) as catalog:
        assert catalog.fold().n_records == 1
        assert catalog.query("SELECT count(*) AS n FROM jobs") == [{"n": 0}]
    assert check(store)[0] == []


@pytest.mark.usefixtures("no_timer")
def test_the_number_of_writes_does_not_grow_with_each_attempt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Store.write_bytes
    monkeypatch.setattr(
        Store, "write_bytes", lambda self, path, *more: written.append(path) or write(self, path, *more)
    )
    run_log = RunLog(store, "run")
    for number in range(2 * run_log_module.PACK_SIZE):
        log_done(run_log, str(number))
    assert written == [f"runs/run/packed-{first}-{first + 999}.jsonl.zst" for first in (0, 1000)]


@pytest.mark.usefixtures("no_timer")
def test_a_full_pack_replaces_the_files_of_its_entries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log_module, "PACK_SIZE", 6)
    run_log = RunLog(store, "run")
    for names in ("a", "bc", "def"):
        for name in names:
            log_done(run_log, name)
        run_log.flush()
    assert store.list("runs") == ["runs/run/packed-0-5.jsonl.zst"]
    assert [row["record_id"] for row in entries(store, "job")] == [*"abcdef"]


def test_an_error_of_the_store_that_the_timer_met_is_raised_by_the_next_entry(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log_module, "WRITE_INTERVAL_S", 0.01)

    def refuse(*_: object) -> None:
        raise StoreError("the object store refuses the request", store=store.uri)

    monkeypatch.setattr(Store, "write_bytes", refuse)
    run_log = RunLog(store, "run")

    def log_until_it_fails() -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            log_done(run_log, "a")
            time.sleep(0.01)

    with pytest.raises(StoreError):
        log_until_it_fails()


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fill the disk; returns a function that makes room."""
    write = Store.write_bytes
    monkeypatch.setattr(Store, "write_bytes", no_space)
    return lambda: monkeypatch.setattr(Store, "write_bytes", write)


def test_files_are_written_later_if_the_disk_is_full(
    store: Store, full_disk: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    run_log = RunLog(store, "run")
    run_log.start([])
    log_done(run_log, "a")
    log_done(run_log, "b")
    assert store.list("runs") == []
    assert len(caplog.records) == 1, "one warning for all files"
    full_disk()
    run_log.end("done")
    names = sorted(path.rpartition("/")[2] for path in store.list("runs"))
    assert names == ["ended.json", "packed-0-1.jsonl.zst", "planned.json"]
    assert [row["record_id"] for row in entries(store, "job")] == ["a", "b"]


def test_an_environment_that_cannot_be_written_has_no_id(store: Store, full_disk: Callable[[], None]) -> None:
    run_log = RunLog(store, "run")
    outcome = Stopwatch().outcome(("masks", "a"), step="rescore", worker="worker-0")
    run_log.log_record(outcome)
    full_disk()
    run_log.log_record(outcome)
    run_log.flush()
    assert [row["environment_id"] for row in entries(store, "job")] == [None, this_environment().id]


RECORDS = [made_up_record("evaluations", {"name": name}) for name in "ab"]


def run_files(store: Store, kind: str) -> list[dict[str, object]]:
    return [store.read_json(path) for path in store.list("runs") if path.rpartition("/")[2].startswith(kind)]


def test_each_record_is_a_job_of_a_run_of_the_command(store: Store) -> None:
    with recorded_run(store, "rescore") as opened:
        for record in RECORDS:
            opened.write_record(record)
    assert store.record_names() == sorted((record.kind, record.id) for record in RECORDS)
    (run,) = run_files(store, "run")
    jobs = entries(store, "job")
    assert (run["command"], run["environment_id"]) == ("rescore", this_environment().id)
    assert [(job["record_id"], job["status"], job["environment_id"]) for job in jobs] == [
        (record.id, "done", this_environment().id) for record in RECORDS
    ]
    (status,) = StatusReader(store).read()
    assert (status.recipe, status.state, status.steps["rescore"].n_done) == ("rescore", "done", 2)


def test_a_command_that_writes_nothing_leaves_no_run(store: Store) -> None:
    with recorded_run(store, "rescore"):
        pass
    assert store.list("runs") == []


def test_a_command_that_raises_is_logged_as_stopped(store: Store) -> None:
    def interrupted() -> None:
        with recorded_run(store, "harness") as opened:
            opened.write_record(RECORDS[0])
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        interrupted()
    assert [row["how"] for row in run_files(store, "ended")] == ["stopped"]
