"""Updating the catalog during a run never stops the run."""

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from catalog.store import Catalog
from mlprune.steps.job import Job, RecordKey
from mlprune.store.claims import Claims, claim_path, read_claim
from mlprune.store.records import record_path
from mlprune.store.store import Store
from ray_jobs.driver import driver as catalog_sync
from ray_jobs.driver.driver import CatalogSync, Driver, FixedPlan, fold
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_log import RunLog
from ray_jobs.driver.run_state import MAX_ATTEMPTS, JobQueue, RunResult
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.run_metrics import NO_METRICS, Metrics, NoMetrics
from ray_jobs.workers.worker import Outcome
from tests.ray_jobs.driver.scripted_workers import BROKEN, LOST, OUT_OF_MEMORY, BatchedJob, NamedJob, ScriptedWorkers
from tests.ray_jobs.driver.simulated_runs import ScanningQueue, simulate
from tests.records import made_up_record
from tests.run_entries import entries


def test_out_of_memory_in_a_fold_is_logged_and_other_errors_are_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error: Exception = duckdb.OutOfMemoryException("Out of Memory Error: Failed to allocate block of 16384 bytes")

    def failing(_: Catalog) -> None:
        raise error

    monkeypatch.setattr(Catalog, "fold", failing)
    with caplog.at_level(logging.WARNING):
        assert not fold(Store(tmp_path))
    assert len(caplog.records) == 1
    error = duckdb.BinderException("Binder Error: no such column")
    with pytest.raises(duckdb.BinderException):
        fold(Store(tmp_path))


def test_folds_take_a_small_share_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, spent_s = 0.0, 0.0

    def slow_fold(_: Store) -> bool:
        nonlocal now, spent_s
        spent_s += 4.0
        now += 4.0
        return True

    monkeypatch.setattr(catalog_sync, "fold", slow_fold)
    monkeypatch.setattr(catalog_sync.time, "monotonic", lambda: now)
    catalog = CatalogSync(Store(tmp_path))
    while now < 10_000:
        now += 1.0
        catalog.maybe_fold()
    assert 0.04 < spent_s / now <= catalog_sync.MAX_FOLD_SHARE


def test_the_interval_grows_while_another_process_locks_the_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, is_locked, folded_at = 0.0, True, []

    def fake_fold(_: Store) -> bool:
        folded_at.append(now)
        return not is_locked

    monkeypatch.setattr(catalog_sync, "fold", fake_fold)
    monkeypatch.setattr(catalog_sync.time, "monotonic", lambda: now)
    catalog = CatalogSync(Store(tmp_path))
    for second in range(1200):
        now, is_locked = float(second), second < 900
        catalog.maybe_fold()
    assert folded_at == [15, 45, 105, 225, 465, 705, 945, 960, *range(975, 1200, 15)]


VARIANT = "0123456789abcdef0123"
LABELS = {VARIANT: "wanda fr-en 0.3"}


class EvaluationOfVariant(NamedJob):
    @property
    def work(self) -> str:
        return f"facts sw test of variant {VARIANT}"


class LabelledPlan(FixedPlan):
    def label_of(self, variant_id: str) -> str | None:
        return LABELS.get(variant_id)


def run(
    jobs: Sequence[Job],
    workers: ScriptedWorkers,
    store: Store,
    *,
    present: set[RecordKey] | None = None,
    claims: Claims | None = None,
    metrics: Metrics = NO_METRICS,
    replaced: Collection[RecordKey] = (),
) -> RunResult:
    with Progress(jobs) as progress:
        log = RunLog(store, "run", metrics=metrics)
        driver = Driver(store, log, workers=workers, progress=progress, claims=claims, plan=LabelledPlan())
        return driver.run(jobs, present=present or set(), replaced=replaced)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_jobs_run_after_those_they_need_and_no_more_than_workers_are_free(store: Store) -> None:
    workers = ScriptedWorkers()
    jobs = [NamedJob("d", ("b", "c")), NamedJob("b", ("a",)), NamedJob("a"), NamedJob("c"), NamedJob("e", ("d",))]
    result = run(jobs, workers, store)
    order = workers.submitted
    assert result.n_done == 5
    assert order.index("a") < order.index("b") < order.index("d") < order.index("e")
    assert order.index("c") < order.index("d")
    assert workers.most_at_once == 2


@pytest.mark.thorough("starts runs or workers of its own")
@pytest.mark.parametrize("seed", range(20))
def test_jobs_are_submitted_in_the_order_of_a_scan_over_all_waiting_jobs(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned, queued = (
        simulate(seed, Store(tmp_path / queue.__name__), queue, monkeypatch) for queue in (ScanningQueue, JobQueue)
    )
    assert queued == scanned


class ShardedWorkers(ScriptedWorkers):
    """One replica of two shards: a job that runs the model uses both."""

    def size(self, job: Job) -> int:
        return 2 if job.needs_chain else 1

    def free(self) -> int:
        n_free = self._capacity - sum(map(self.size, self._running))
        assert n_free >= 0
        return n_free


def test_a_job_that_does_not_fit_beside_the_others_waits_and_smaller_ones_run(store: Store) -> None:
    workers = ShardedWorkers()
    jobs: list[Job] = [NamedJob("a"), BatchedJob("b", batch_tokens=16), NamedJob("c"), NamedJob("d", ("b",))]
    assert run(jobs, workers, store).n_done == 4
    assert workers.submitted == ["a", "c", "b", "d"]


def test_records_that_exist_count_as_done(store: Store) -> None:
    result = run([NamedJob("b", ("a",))], ScriptedWorkers(), store, present={("masks", "a")})
    assert (result.n_done, result.n_skipped) == (1, 0)


def test_only_jobs_that_need_a_failed_job_are_skipped(store: Store) -> None:
    workers = ScriptedWorkers(lambda job, _: BROKEN if job.makes[0][1] == "a" else None)
    result = run([NamedJob("a"), NamedJob("b", ("a",)), NamedJob("c", ("b",)), NamedJob("x")], workers, store)
    assert (result.n_done, len(result.failed), result.n_skipped) == (1, 1, 2)
    assert workers.submitted == ["a", "x"]
    failures = entries(store, "failure")
    assert [(row["record_id"], row["error"], row["message"]) for row in failures] == [("a", "ValueError", "broken")]


def test_a_transient_failure_is_retried_and_logged(store: Store) -> None:
    workers = ScriptedWorkers(lambda _, attempt: LOST if attempt == 1 else None)
    assert run([NamedJob("a")], workers, store).n_done == 1
    rows = entries(store, "job")
    assert sorted((row["status"], row["attempt"]) for row in rows) == [("done", 2), ("lost", 1)]


def test_a_job_that_always_loses_its_worker_is_tried_a_bounded_number_of_times(store: Store) -> None:
    workers = ScriptedWorkers(lambda job, _: LOST if job.makes[0][1] == "poison" else None)
    result = run([NamedJob("poison"), NamedJob("b")], workers, store)
    assert workers.submitted.count("poison") == MAX_ATTEMPTS
    assert [job.makes[0][1] for job, _ in result.failed] == ["poison"]
    assert result.n_done == 1


def attempts(store: Store) -> list[tuple[str, int, int | None, str]]:
    """(status, number, tokens of a batch, memory level) of every logged attempt."""
    rows = entries(store, "job")
    return sorted((row["status"], row["attempt"], row["batch_tokens"], row["memory_level"]) for row in rows)


def test_a_job_that_runs_out_of_memory_gets_less_and_less(store: Store) -> None:
    workers = ScriptedWorkers(lambda _, attempt: OUT_OF_MEMORY if attempt < 5 else None)
    assert run([BatchedJob("a")], workers, store).n_done == 1
    assert attempts(store) == [
        ("done", 5, 16, "offloaded"),
        ("lost", 1, 128, "as planned"),
        ("lost", 2, 64, "half batches"),
        ("lost", 3, 32, "1/4 batches"),
        ("lost", 4, 16, "1/8 batches"),
    ]


class RetriesSeen(NoMetrics):
    """Metrics that keep what is tried after each attempt: the halvings of the next one, None if there is none."""

    def __init__(self) -> None:
        self.n_halvings: list[int | None] = []

    def count_attempt(self, job: Job, outcome: Outcome, *, status: str, retry: Job | None = None) -> None:
        self.n_halvings.append(None if retry is None else retry.n_halvings)


def test_metrics_see_what_is_tried_next(store: Store) -> None:
    seen, failures = RetriesSeen(), iter([LOST, OUT_OF_MEMORY, None])
    assert run([BatchedJob("a")], ScriptedWorkers(lambda *_: next(failures)), store, metrics=seen).n_done == 1
    assert seen.n_halvings == [0, 1, None]


def test_a_job_that_runs_out_of_memory_at_every_level_fails_with_advice(store: Store) -> None:
    workers = ScriptedWorkers(lambda *_: OUT_OF_MEMORY)
    result = run([BatchedJob("a"), BatchedJob("b", ("a",))], workers, store)
    ((_, failure),) = result.failed
    assert workers.submitted == ["a"] * 6
    assert "compute: {shards: 2}" in failure.message
    assert result.n_skipped == 1
    rows = entries(store, "failure")
    assert [(row["message"], row["attempts"]) for row in rows] == [(failure.message, 6)]


def test_a_job_without_batches_or_model_is_retried_unchanged_a_bounded_number_of_times(store: Store) -> None:
    workers = ScriptedWorkers(lambda *_: OUT_OF_MEMORY)
    ((_, failure),) = run([NamedJob("a")], workers, store).failed
    assert workers.submitted == ["a"] * MAX_ATTEMPTS
    assert "compute: {replicas: 1}" in failure.message


def test_lost_workers_between_memory_levels_keep_the_level_and_are_bounded(store: Store) -> None:
    failures = iter([LOST, OUT_OF_MEMORY, LOST, OUT_OF_MEMORY, LOST])
    result = run([BatchedJob("a")], ScriptedWorkers(lambda *_: next(failures)), store)
    assert len(result.failed) == 1
    assert [row[1:] for row in sorted(attempts(store), key=lambda row: row[1])] == [
        (1, 128, "as planned"),
        (2, 128, "as planned"),
        (3, 64, "half batches"),
        (4, 64, "half batches"),
        (5, 32, "1/4 batches"),
    ]


def test_a_run_without_workers_ends_with_its_jobs_to_do_and_the_reason(store: Store) -> None:
    def retire(job: Job, _: int) -> Failure | None:
        if job.makes[0][1] != "b":
            return None
        workers.problem = "no worker is left"
        return Failure("DeviceError", "no room", True, False, worker_fault="busy device", at_load=True)

    workers = ScriptedWorkers(retire, capacity=1)
    result = run([NamedJob("a"), NamedJob("b"), NamedJob("c")], workers, store)
    assert (result.n_done, result.failed, result.n_skipped) == (1, (), 2)
    assert result.problem == "no worker is left"
    assert [store.read_json(path)["how"] for path in store.list("runs") if "ended" in path] == ["failed"]


def test_a_run_whose_last_job_retires_the_last_worker_is_done(store: Store) -> None:
    workers = ScriptedWorkers(capacity=1)
    workers.wait = lambda timeout_s=None: (setattr(workers, "problem", "late"), ScriptedWorkers.wait(workers))[1]  # type: ignore[method-assign]
    assert run([NamedJob("a")], workers, store).problem is None


def test_damage_found_by_a_job_is_in_the_result(store: Store) -> None:
    damage = Failure("DamagedArtefactError", "bad hash", is_transient=False, is_damage=True)
    assert run([NamedJob("a")], ScriptedWorkers(lambda *_: damage), store).found_damage
    assert not run([NamedJob("a")], ScriptedWorkers(), store).found_damage


@pytest.fixture
def short_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_sync, "POLL_INTERVAL_S", 0.02)


@pytest.fixture
def ours(store: Store) -> Iterator[Claims]:
    with Claims(store, "ours") as claims:
        yield claims


@pytest.fixture
def theirs(store: Store) -> Iterator[Claims]:
    with Claims(store, "theirs", stale_after_s=0.4) as claims:
        yield claims


def make(store: Store, name: str) -> None:
    store.write_bytes(record_path("masks", name), b"{}")  # a driver only asks whether a record exists


def test_a_claim_names_the_variant_by_its_label(store: Store, ours: Claims) -> None:
    works = []

    def decide(job: Job, attempt: int) -> Failure | None:
        works.append(read_claim(store, claim_path(*job.makes[-1]))["work"])

    run([EvaluationOfVariant("a")], ScriptedWorkers(decide), store, claims=ours)
    assert works == ["prune facts sw test of variant wanda fr-en 0.3"]


def test_every_job_is_claimed_while_it_runs_and_not_after(store: Store, ours: Claims, theirs: Claims) -> None:
    taken: list[bool] = []

    def decide(job: Job, attempt: int) -> Failure | None:
        taken.append(theirs.take(job.makes[-1]))
        return {("a", 1): LOST, ("b", 1): BROKEN}.get((job.makes[-1][1], attempt))

    run([NamedJob("a"), NamedJob("b"), NamedJob("c")], ScriptedWorkers(decide), store, claims=ours)
    assert taken == [False] * 4
    deadline = time.monotonic() + 300
    while store.list("claims"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("short_poll_interval")
def test_a_job_of_another_run_is_set_aside_and_done_when_its_record_appears(
    store: Store, ours: Claims, theirs: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    assert theirs.take(("masks", "a"))

    def finish_theirs() -> None:
        deadline = time.monotonic() + 300
        while "theirs" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        make(store, "a")

    other_run = threading.Thread(target=finish_theirs)
    other_run.start()
    workers = ScriptedWorkers()
    with caplog.at_level(logging.WARNING):
        result = run([NamedJob("a"), NamedJob("b", ("a",)), NamedJob("c")], workers, store, claims=ours)
    other_run.join()
    assert workers.submitted == ["c", "b"]
    assert (result.n_done, result.n_elsewhere, result.n_skipped) == (3, 1, 0)
    assert [record.args for record in caplog.records if record.name == catalog_sync.__name__] == [(1, "theirs")]
    assert workers.timeouts[0] == catalog_sync.POLL_INTERVAL_S


@pytest.mark.usefixtures("short_poll_interval")
def test_a_job_whose_owner_died_is_taken_over(store: Store, ours: Claims) -> None:
    claim = {"owner": "dead", "process": "elsewhere/1/1", "stale_after_s": 0.3}
    store.write_bytes(claim_path("masks", "a"), json.dumps(claim).encode())
    workers = ScriptedWorkers()
    result = run([NamedJob("a"), NamedJob("b", ("a",)), NamedJob("c")], workers, store, claims=ours)
    assert workers.submitted == ["c", "a", "b"]
    assert (result.n_done, result.n_elsewhere) == (3, 0)


def test_a_job_that_another_run_finished_since_the_plan_is_not_done_again(store: Store, ours: Claims) -> None:
    make(store, "a")
    workers = ScriptedWorkers()
    result = run([NamedJob("a"), NamedJob("b", ("a",))], workers, store, claims=ours)
    assert workers.submitted == ["b"]
    assert (result.n_done, result.n_elsewhere) == (2, 1)


def test_a_run_whose_jobs_another_run_did_ends(store: Store, ours: Claims) -> None:
    for name in "ab":
        make(store, name)
    result = run([NamedJob("b", ("a",)), NamedJob("a")], ScriptedWorkers(), store, claims=ours)
    assert (result.n_done, result.n_elsewhere, result.n_skipped) == (2, 2, 0)


def test_a_job_that_another_run_finished_between_plan_and_start_is_not_done_again(store: Store, ours: Claims) -> None:
    make(store, "a")
    workers = ScriptedWorkers()
    result = run([NamedJob("a")], workers, store, present={("masks", "a")}, claims=ours)
    assert (workers.submitted, result.n_elsewhere) == ([], 1)


def test_a_job_whose_record_stays_until_it_is_replaced_is_done_unless_another_run_has_just_done_it(
    store: Store, ours: Claims
) -> None:
    record = made_up_record("masks", artefacts=[store.write_bytes("masks/a/block-000.parquet", b"12345")])
    store.write_record(record)
    job, key = NamedJob(record.id), (record.kind, record.id)
    workers = ScriptedWorkers()
    result = run([job], workers, store, claims=ours, replaced={key})
    assert (workers.submitted, result.n_elsewhere) == ([record.id], 0)


@pytest.mark.usefixtures("short_poll_interval")
@pytest.mark.parametrize("is_made", [True, False])
def test_a_job_that_another_run_replaces_is_done_when_its_files_exist(
    store: Store, ours: Claims, theirs: Claims, caplog: pytest.LogCaptureFixture, *, is_made: bool
) -> None:
    artefact = store.write_bytes("masks/a/block-000.parquet", b"12345")
    record = made_up_record("masks", artefacts=[artefact])
    store.write_record(record)
    store.delete(artefact.path)
    job, key = NamedJob(record.id), (record.kind, record.id)
    assert theirs.take(key)

    def finish_theirs() -> None:
        deadline = time.monotonic() + 300
        while "theirs" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        if is_made:
            store.write_bytes(artefact.path, b"12345")
        theirs.release(key)

    other_run = threading.Thread(target=finish_theirs)
    other_run.start()
    workers = ScriptedWorkers()
    result = run([job], workers, store, claims=ours, replaced={key})
    other_run.join()
    assert (workers.submitted, result.n_elsewhere) == ([], 1) if is_made else ([record.id], 0)


def test_a_permanent_failure_ends_a_run_with_claims(store: Store, ours: Claims) -> None:
    result = run([NamedJob("a"), NamedJob("b", ("a",))], ScriptedWorkers(lambda *_: BROKEN), store, claims=ours)
    assert (result.n_done, len(result.failed), result.n_skipped) == (0, 1, 1)


@dataclass(frozen=True)
class ShareableJob(NamedJob):
    """A job that several workers can share."""

    shares_replicas: ClassVar[bool] = True


def test_workers_without_a_job_share_those_that_allow_it(store: Store) -> None:
    workers = ScriptedWorkers(capacity=6)
    run([ShareableJob("a"), NamedJob("b"), ShareableJob("c")], workers, store)
    assert dict(zip(workers.submitted, workers.helpers, strict=True)) == {"a": 2, "b": 0, "c": 1}


def test_no_job_is_shared_while_another_one_is_ready(store: Store) -> None:
    workers = ScriptedWorkers(capacity=2)
    run([ShareableJob("a"), ShareableJob("b"), NamedJob("c"), ShareableJob("d", ("c",))], workers, store)
    assert dict(zip(workers.submitted, workers.helpers, strict=True)) == {"a": 0, "b": 0, "c": 0, "d": 1}


def test_the_last_attempt_of_a_job_is_not_shared(store: Store) -> None:
    workers = ScriptedWorkers(lambda *_: LOST)
    result = run([ShareableJob("a")], workers, store)
    assert workers.helpers == [1, 1, 0]
    assert len(result.failed) == 1


def test_running_jobs_are_shared_when_no_other_job_is_ready(store: Store) -> None:
    workers = ScriptedWorkers(capacity=2)
    run([ShareableJob("a"), NamedJob("b"), NamedJob("c", ("b",))], workers, store)
    assert workers.shared == [["a"], [], []]
    assert workers.recalled == []


def test_workers_are_taken_back_for_jobs_that_become_ready(store: Store) -> None:
    workers = ScriptedWorkers(capacity=2)
    run([NamedJob("a"), ShareableJob("b"), NamedJob("c", ("a",)), NamedJob("d", ("a",))], workers, store)
    assert workers.submitted == ["a", "b", "c", "d"]
    assert workers.recalled == [1]
    assert workers.shared[0] == ["b"]


def test_changes_of_the_number_of_workers_are_in_the_log_of_the_run(store: Store) -> None:
    workers = ScriptedWorkers()
    workers.changes = [PoolChange(3, "node b joined", "2026-01-01T00:00:00.000+00:00")]
    run([NamedJob("a"), NamedJob("b")], workers, store)
    assert entries(store, "pool") == [asdict(PoolChange(3, "node b joined", "2026-01-01T00:00:00.000+00:00"))]


def test_jobs_that_follow_from_a_result_join_the_run(store: Store) -> None:
    elsewhere = made_up_record("masks")  # by another run, after this one listed the records
    following = {"a": [NamedJob("d", ("c", elsewhere.id)), NamedJob("c", ("a", "b"))]}

    class GrowingPlan(FixedPlan):
        def next_jobs(self, job: Job) -> Sequence[Job]:
            store.write_record(elsewhere)
            return following.get(job.makes[-1][1], [])

    workers = ScriptedWorkers()
    jobs = [NamedJob("a"), NamedJob("b")]
    with Progress(jobs) as progress:
        driver = Driver(store, RunLog(store, "run"), workers=workers, progress=progress, plan=GrowingPlan())
        result = driver.run(jobs, present=set())
    assert (result.n_done, result.n_skipped) == (4, 0)
    assert workers.submitted.index("c") < workers.submitted.index("d")
    planned = json.loads((Path(store.uri) / "runs/run/planned.json").read_text())
    assert planned["jobs"] == {"prune": 4}
