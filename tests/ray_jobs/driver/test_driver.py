"""The driver with workers made for the purpose: order, retries, failures, and what is written about them."""

import errno
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlprune.steps.job import Job, ModelJob, ModelRef, RecordKey
from mlprune.store.claims import Claims, claim_path
from mlprune.store.records import Record
from mlprune.store.run_log_files import read_run_file, run_files
from mlprune.store.store import Store
from ray_jobs.driver import driver as driver_module
from ray_jobs.driver.driver import MAX_ATTEMPTS, Driver, RunResult
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_status import store_status
from ray_jobs.workers.worker import Failure, Outcome
from tests.stub_jobs import StubJob


@dataclass(frozen=True)
class NamedJob(StubJob):
    """A job that is only a name and its needs."""

    step: ClassVar[str] = "prune"
    name: str
    after: tuple[str, ...] = ()

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("masks", self.name),)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        return tuple(("masks", name) for name in self.after)


class ScriptedWorkers:
    """Workers whose outcomes a function decides; notes the order of submission."""

    def __init__(self, decide: Callable[[Job, int], Failure | None], capacity: int = 2) -> None:
        self._decide = decide
        self._capacity = capacity
        self._running: list[Job] = []
        self.submitted: list[str] = []
        self.timeouts: list[float | None] = []
        self.most_at_once = 0

    def free(self) -> int:
        return self._capacity - len(self._running)

    def submit(self, job: Job) -> None:
        self._running.append(job)
        self.submitted.append(job.makes[0][1])
        self.most_at_once = max(self.most_at_once, len(self._running))

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        self.timeouts.append(timeout_s)
        job = self._running.pop(0)
        failure = self._decide(job, self.submitted.count(job.makes[0][1]))
        return [(job, Outcome(job.makes[-1], job.step, "host", "worker", "2026-01-01", 0.5, 0.1, failure))]

    def close(self) -> None:
        pass


def run(
    jobs: Sequence[Job],
    workers: ScriptedWorkers,
    store: Store,
    present: set[RecordKey] | None = None,
    claims: Claims | None = None,
) -> RunResult:
    with Progress(jobs) as progress:
        driver = Driver(store, "run", workers=workers, progress=progress, claims=claims)
        return driver.run(jobs, present=present or set())


def always_fine(job: Job, attempt: int) -> Failure | None:
    return None


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_jobs_run_after_those_they_need_and_no_more_than_workers_are_free(store: Store) -> None:
    workers = ScriptedWorkers(always_fine)
    jobs = [NamedJob("d", ("b", "c")), NamedJob("b", ("a",)), NamedJob("a"), NamedJob("c"), NamedJob("e", ("d",))]
    result = run(jobs, workers, store)
    order = workers.submitted
    assert result.n_done == 5
    assert order.index("a") < order.index("b") < order.index("d") < order.index("e")
    assert order.index("c") < order.index("d")
    assert workers.most_at_once == 2


def test_records_that_exist_count_as_done(store: Store) -> None:
    workers = ScriptedWorkers(always_fine)
    result = run([NamedJob("b", ("a",))], workers, store, present={("masks", "a")})
    assert (result.n_done, result.n_skipped) == (1, 0)


def test_a_job_that_fails_for_good_takes_along_only_those_that_need_it(store: Store) -> None:
    broken = Failure("ValueError", "broken", is_transient=False, is_damage=False)
    workers = ScriptedWorkers(lambda job, attempt: broken if job.makes[0][1] == "a" else None)
    result = run([NamedJob("a"), NamedJob("b", ("a",)), NamedJob("c", ("b",)), NamedJob("x")], workers, store)
    assert (result.n_done, len(result.failed), result.n_skipped) == (1, 1, 2)
    assert workers.submitted == ["a", "x"]
    failures = [store.read_json(path) for path in store.list("runs") if "failure-" in path]
    assert [(one["record_id"], one["error"], one["message"]) for one in failures] == [("a", "ValueError", "broken")]


def test_a_transient_failure_is_tried_again_and_noted(store: Store) -> None:
    lost = Failure("WorkerLostError", "gone", is_transient=True, is_damage=False)
    workers = ScriptedWorkers(lambda job, attempt: lost if attempt == 1 else None)
    assert run([NamedJob("a")], workers, store).n_done == 1
    rows = [store.read_json(path) for path in store.list("runs") if "job-" in path]
    assert sorted((row["status"], row["attempt"]) for row in rows) == [("done", 2), ("lost", 1)]


def test_a_poison_job_is_tried_a_bounded_number_of_times(store: Store) -> None:
    lost = Failure("WorkerLostError", "gone", is_transient=True, is_damage=False)
    workers = ScriptedWorkers(lambda job, attempt: lost if job.makes[0][1] == "poison" else None)
    result = run([NamedJob("poison"), NamedJob("b")], workers, store)
    assert workers.submitted.count("poison") == MAX_ATTEMPTS
    assert [job.makes[0][1] for job, _ in result.failed] == ["poison"]
    assert result.n_done == 1


def test_many_files_of_jobs_become_one_and_nothing_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_jobs.driver.run_log.PACK_AT", 4)
    broken = Failure("ValueError", "broken", is_transient=False, is_damage=False)
    names = "abcdefghi"
    run(
        [NamedJob(name) for name in names],
        ScriptedWorkers(lambda job, _: broken if job.makes[0][1] == "b" else None),
        store,
    )
    files = run_files(store)
    assert len(files.packs) == 2
    found = [value for path in (*files.single, *files.packs) for _, value in read_run_file(store, path)]
    assert sorted(one["record_id"] for one in found if "attempt" in one) == list(names)
    assert [one["makes"] for one in found if one.get("status") == "failed"] == [[["masks", "b"]]]
    (status,) = store_status(store)
    assert (status.steps["prune"].n_done, status.steps["prune"].n_failed) == (8, 1)


def test_files_that_cannot_be_packed_stay_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("ray_jobs.driver.run_log.PACK_AT", 2)
    monkeypatch.setattr("ray_jobs.driver.run_log.write_pack", full)
    assert run([NamedJob(name) for name in "abc"], ScriptedWorkers(always_fine), store).n_done == 3
    assert len([path for path in store.list("runs") if "job-" in path]) == 3


SHORT = Failure("OutOfMemoryError", "memory was short", is_transient=True, is_damage=False, is_memory=True)
LOST = Failure("WorkerLostError", "gone", is_transient=True, is_damage=False)


@dataclass(frozen=True)
class BatchedJob(NamedJob, ModelJob):
    """A job that runs the model on batches."""

    batch_tokens: int = field(default=128, kw_only=True)

    @property
    def chain_model(self) -> ModelRef:
        raise NotImplementedError


def tries(store: Store) -> list[tuple[str, int, int | None, str]]:
    rows = [store.read_json(path) for path in store.list("runs") if "job-" in path]
    return sorted((row["status"], row["attempt"], row["batch_tokens"], row["relief"]) for row in rows)


def test_a_job_that_memory_is_short_for_is_given_less_and_less(store: Store) -> None:
    workers = ScriptedWorkers(lambda job, attempt: SHORT if attempt < 3 else None)
    assert run([BatchedJob("a")], workers, store).n_done == 1
    assert tries(store) == [
        ("done", 3, 64, "offloaded"),
        ("lost", 1, 128, "as planned"),
        ("lost", 2, 64, "half batches"),
    ]


def test_a_job_that_nothing_is_little_enough_for_fails_with_the_advice(store: Store) -> None:
    workers = ScriptedWorkers(lambda *_: SHORT)
    result = run([BatchedJob("a"), BatchedJob("b", ("a",))], workers, store)
    ((_, failure),) = result.failed
    assert workers.submitted == ["a"] * 3
    assert "compute: {batch_tokens: 32}; 64 did not fit" in failure.message
    assert result.n_skipped == 1
    rows = [store.read_json(path) for path in store.list("runs") if "failure-" in path]
    assert [(row["message"], row["attempts"]) for row in rows] == [(failure.message, 3)]


def test_a_job_without_batches_or_model_is_tried_as_it_is_a_bounded_number_of_times(store: Store) -> None:
    workers = ScriptedWorkers(lambda *_: SHORT)
    ((_, failure),) = run([NamedJob("a")], workers, store).failed
    assert workers.submitted == ["a"] * MAX_ATTEMPTS
    assert "compute: {replicas: 1}" in failure.message


def test_lost_workers_between_memory_levels_keep_the_level_and_are_bounded(store: Store) -> None:
    failures = iter([LOST, SHORT, LOST, SHORT, LOST])
    workers = ScriptedWorkers(lambda *_: next(failures))
    result = run([BatchedJob("a")], workers, store)
    assert len(result.failed) == 1
    assert [one[1:] for one in sorted(tries(store), key=lambda row: row[1])] == [
        (1, 128, "as planned"),
        (2, 128, "as planned"),
        (3, 64, "half batches"),
        (4, 64, "half batches"),
        (5, 64, "offloaded"),
    ]


def test_rows_that_cannot_be_written_are_written_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = Store.write_run_file
    has_room = False

    def full(self: Store, *args: Any) -> None:
        if not has_room:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, *args)

    def make_room(job: Job, attempt: int) -> Failure | None:
        nonlocal has_room
        has_room = job.makes[0][1] == "c"
        return Failure("ValueError", "broken", is_transient=False, is_damage=False) if not has_room else None

    monkeypatch.setattr(Store, "write_run_file", full)
    result = run([NamedJob("a"), NamedJob("b"), NamedJob("c")], ScriptedWorkers(make_room), store)
    assert len(result.failed) == 2
    assert caplog.text.count("cannot be written now") == 1
    names = sorted(path.rpartition("/")[2] for path in store.list("runs"))
    rows = ["failure-1.json", "failure-3.json", "job-0.json", "job-2.json", "job-4.json"]
    assert names == sorted([*rows, "planned.json", "ended.json"])


def test_damage_found_by_a_job_is_seen_in_the_result(store: Store) -> None:
    damage = Failure("DamagedArtefactError", "bad hash", is_transient=False, is_damage=True)
    assert run([NamedJob("a")], ScriptedWorkers(lambda job, attempt: damage), store).saw_damage
    assert not run([NamedJob("a")], ScriptedWorkers(always_fine), store).saw_damage


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "LOOK_AGAIN_S", 0.02)


@pytest.fixture
def ours(store: Store) -> Iterator[Claims]:
    with Claims(store, "ours") as claims:
        yield claims


@pytest.fixture
def theirs(store: Store) -> Iterator[Claims]:
    with Claims(store, "theirs", stale_after_s=0.4) as claims:
        yield claims


def make(store: Store, name: str) -> None:
    store.write_record(Record("masks", name, 1, {}))


def test_every_job_is_claimed_while_it_runs_and_no_longer(store: Store, ours: Claims, theirs: Claims) -> None:
    taken: list[bool] = []

    def ask(job: Job, attempt: int) -> Failure | None:
        taken.append(theirs.take(job.makes[-1]))
        lost = Failure("WorkerLostError", "gone", is_transient=True, is_damage=False)
        broken = Failure("ValueError", "broken", is_transient=False, is_damage=False)
        return {("a", 1): lost, ("b", 1): broken}.get((job.makes[-1][1], attempt))

    run([NamedJob("a"), NamedJob("b"), NamedJob("c")], ScriptedWorkers(ask), store, claims=ours)
    assert taken == [False] * 4
    give_up = time.monotonic() + 10
    while store.list("claims"):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.usefixtures("quick_looks")
def test_a_job_another_run_does_is_put_aside_and_done_when_its_record_appears(
    store: Store, ours: Claims, theirs: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    assert theirs.take(("masks", "a"))
    asked: list[str] = []

    def finish_theirs() -> None:
        while not asked:
            time.sleep(0.01)
        time.sleep(0.2)
        make(store, "a")

    def note(job: Job, attempt: int) -> Failure | None:
        asked.append(job.makes[-1][1])
        return None

    other = threading.Thread(target=finish_theirs)
    other.start()
    workers = ScriptedWorkers(note)
    with caplog.at_level(logging.WARNING):
        result = run([NamedJob("a"), NamedJob("b", ("a",)), NamedJob("c")], workers, store, claims=ours)
    other.join()
    assert workers.submitted == ["c", "b"]
    assert (result.n_done, result.n_elsewhere, result.n_skipped) == (3, 1, 0)
    assert caplog.text.count("waiting for 1 jobs that theirs does") == 1
    assert workers.timeouts[0] == driver_module.LOOK_AGAIN_S


@pytest.mark.usefixtures("quick_looks")
def test_a_job_whose_owner_died_is_taken_over(store: Store, ours: Claims) -> None:
    claim = {"owner": "dead", "process": "elsewhere/1/1", "stale_after_s": 0.3}
    store.write_bytes(claim_path("masks", "a"), json.dumps(claim).encode())
    workers = ScriptedWorkers(always_fine)
    result = run([NamedJob("a"), NamedJob("b", ("a",)), NamedJob("c")], workers, store, claims=ours)
    assert workers.submitted == ["c", "a", "b"]
    assert (result.n_done, result.n_elsewhere) == (3, 0)


def test_a_job_another_run_finished_since_we_planned_is_not_done_again(store: Store, ours: Claims) -> None:
    make(store, "a")
    workers = ScriptedWorkers(always_fine)
    result = run([NamedJob("a"), NamedJob("b", ("a",))], workers, store, claims=ours)
    assert workers.submitted == ["b"]
    assert (result.n_done, result.n_elsewhere) == (2, 1)


def test_jobs_that_another_run_did_all_of_end_the_run(store: Store, ours: Claims) -> None:
    for name in "ab":
        make(store, name)
    result = run([NamedJob("b", ("a",)), NamedJob("a")], ScriptedWorkers(always_fine), store, claims=ours)
    assert (result.n_done, result.n_elsewhere, result.n_skipped) == (2, 2, 0)


def test_a_job_another_run_finished_between_plan_and_start_is_not_done_again(store: Store, ours: Claims) -> None:
    """A driver is told what is there when it starts; its jobs were planned before."""
    make(store, "a")
    workers = ScriptedWorkers(always_fine)
    result = run([NamedJob("a")], workers, store, present={("masks", "a")}, claims=ours)
    assert (workers.submitted, result.n_elsewhere) == ([], 1)


def test_a_failure_for_good_still_ends_a_run_with_claims(store: Store, ours: Claims) -> None:
    broken = Failure("ValueError", "broken", is_transient=False, is_damage=False)
    result = run([NamedJob("a"), NamedJob("b", ("a",))], ScriptedWorkers(lambda *_: broken), store, claims=ours)
    assert (result.n_done, len(result.failed), result.n_skipped) == (0, 1, 1)
