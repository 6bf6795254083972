"""The pool of actors with a fake Ray: reserving resources, replacing actors, waiting for room and giving up."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import ANY

import pytest

from mlprune.errors import OutOfMemoryError, WorkerLostError
from mlprune.steps.job import Job
from ray_jobs.workers import ray_failures, ray_pool, recovery, replica_actors
from ray_jobs.workers.cluster_nodes import Scaling
from ray_jobs.workers.ray_pool import RayWorkers
from ray_jobs.workers.recovery import FIRST_PAUSE_S, MAX_FAILURES, Failure
from ray_jobs.workers.worker import Outcome
from tests.ray_jobs.workers.pools import MODEL, ONE_SHARD, TWO_SHARDS
from tests.stub_jobs import StubJob


@dataclass(frozen=True)
class ModelJob(StubJob):
    """A job that runs the model."""

    needs_chain: ClassVar[bool] = True


LOST = Failure("WorkerLostError", "a shard died", is_transient=True, is_damage=False)
WRONG = Failure("ShapeError", "does not fit", is_transient=False, is_damage=False)


class Stub:
    """Stands in for any Ray object: actors, methods and references."""

    def __getattr__(self, name: str) -> "Stub":
        return Stub()

    def __call__(self, *_: object, **__: object) -> "Stub":
        return Stub()


class FakeRay:
    """The functions of Ray that the pool uses."""

    def __init__(self) -> None:
        self.has_room = True
        self.killed = 0
        self.reserved: list[list[dict[str, float]]] = []
        self.removed = 0
        self.start_errors: list[Exception] = []
        """Errors of the next starts of workers."""
        self.references: list[Any] = []
        """References of the last call of `wait`."""
        self.never_ready: set[Any] = set()

    def get(self, _: object) -> None:
        if self.start_errors:
            raise self.start_errors.pop(0)

    def wait(self, references: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        self.references = references
        ready = [reference for reference in references if reference not in self.never_ready][: int(self.has_room)]
        return ready, [reference for reference in references if reference not in ready]

    def kill(self, _: object) -> None:
        self.killed += 1

    def placement_group(self, bundles: list[dict[str, float]], **_: object) -> Stub:
        self.reserved.append(bundles)
        return Stub()

    def remove_placement_group(self, _: object) -> None:
        self.removed += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(ray_pool, "ray", made)
    monkeypatch.setattr(ray_failures, "ray", made)
    monkeypatch.setattr(replica_actors, "ray", made)
    monkeypatch.setattr(replica_actors, "actor_class", lambda _: Stub())
    monkeypatch.setattr(replica_actors, "placement_group", made.placement_group)
    monkeypatch.setattr(replica_actors, "remove_placement_group", made.remove_placement_group)
    monkeypatch.setattr(replica_actors, "PlacementGroupSchedulingStrategy", lambda *_: "strategy")
    return made


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Failure | None], None]:
    def set_failure(failure: Failure | None) -> None:
        outcome = Outcome(("variants", "x"), "prune", "", "worker-0", "", 1.0, 0.0, failure)
        monkeypatch.setattr(ray_pool.FailureClassifier, "get", lambda *_, **__: outcome)

    return set_failure


def test_a_replica_of_one_shard_reserves_nothing(fake: FakeRay) -> None:
    workers = RayWorkers("/store", MODEL, ONE_SHARD)
    assert workers.free() == 1
    workers.close()
    assert (fake.reserved, fake.killed, fake.removed) == ([], 1, 0)


def test_resources_of_worker_and_shards_are_reserved_together_and_returned(fake: FakeRay) -> None:
    workers = RayWorkers("/store", MODEL, TWO_SHARDS)
    shard = {"CPU": 1.0, "memory": 2**30}
    assert fake.reserved == [[{"memory": 2**29}, shard, shard]]
    workers.close()
    assert (fake.killed, fake.removed) == (3, 1)


@pytest.mark.parametrize(("failure", "n_starts"), [(None, 1), (WRONG, 1), (LOST, 2)])
def test_a_replica_that_lost_a_shard_reserves_all_resources_again(
    failure: Failure | None, n_starts: int, fake: FakeRay, ends_with: Callable[[Failure | None], None]
) -> None:
    workers = RayWorkers("/store", MODEL, TWO_SHARDS)
    assert workers.free() == 2
    workers.submit(ModelJob())
    ends_with(failure)
    ((_, outcome),) = finished(workers)
    assert outcome.failure == failure
    assert (len(fake.reserved), fake.removed) == (n_starts, n_starts - 1)


def finished(workers: RayWorkers) -> list[tuple[Job, Outcome]]:
    """The next jobs that end; actors may start before."""
    while not (ended := workers.wait()):
        pass
    return ended


def started(workers: RayWorkers, n_free: int) -> RayWorkers:
    """Wait until all actors have started."""
    while workers.free() < n_free:
        pass
    return workers


def test_a_replica_gets_no_job_until_all_of_its_actors_have_started(fake: FakeRay) -> None:
    workers = RayWorkers("/store", MODEL, replace(TWO_SHARDS, n_shards=3))
    n_waits = 0

    def one_more_actor(references: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        nonlocal n_waits
        n_waits += 1
        return references[:1], references[1:]

    fake.wait = one_more_actor  # type: ignore[method-assign]
    assert (workers.free(), n_waits) == (3, 4)


def test_jobs_without_the_model_use_all_shards_and_a_job_with_it_the_whole_replica(
    fake: FakeRay, ends_with: Callable[[Failure | None], None]
) -> None:
    workers = started(RayWorkers("/store", MODEL, replace(TWO_SHARDS, n_workers=2)), 4)
    free = []
    for job in (StubJob(), StubJob(), StubJob(), ModelJob()):
        workers.submit(job)
        free.append(workers.free())
    assert free == [3, 2, 1, 0], "the first two share a replica; the last one waits for the third"
    ends_with(None)
    for n_free in (1, 2, 2, 4):
        finished(workers)
        assert workers.free() == n_free


def test_a_job_with_the_model_gets_an_idle_replica_if_there_is_one(fake: FakeRay) -> None:
    workers = started(RayWorkers("/store", MODEL, replace(TWO_SHARDS, n_workers=2)), 4)
    free = []
    for job in (StubJob(), ModelJob(), StubJob()):
        workers.submit(job)
        free.append(workers.free())
    assert free == [3, 1, 0]


def test_a_replica_that_lost_an_actor_is_replaced_once_its_other_jobs_have_ended(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch, ends_with: Callable[[Failure | None], None]
) -> None:
    workers = started(RayWorkers("/store", MODEL, TWO_SHARDS), 2)
    workers.submit(StubJob())
    workers.submit(StubJob())
    monkeypatch.setattr(ray_pool.FailureClassifier, "get", dies)
    ((_, outcome),) = finished(workers)
    assert outcome.failure is not None
    assert outcome.failure.error == "WorkerLostError"
    assert (workers.free(), fake.removed) == (0, 0)
    ends_with(None)
    ((_, outcome),) = finished(workers)
    assert (outcome.failure, fake.removed, len(fake.reserved)) == (None, 1, 2)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses of the pool, which take no time."""
    made: list[float] = []

    def sleep(seconds: float) -> None:
        made.append(seconds)
        clock.now += seconds

    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(ray_pool, "time", clock)
    monkeypatch.setattr(recovery, "time", clock)
    return made


@pytest.mark.parametrize("at_load", [False, True])
def test_a_worker_with_a_broken_device_is_replaced_and_retired_after_failures_in_a_row(
    at_load: bool, fake: FakeRay, pauses: list[float], ends_with: Callable[[Failure | None], None]
) -> None:
    workers = RayWorkers("/store", MODEL, ONE_SHARD)
    failure = Failure("DeviceError", "illegal address", True, False, worker_fault="broken device", at_load=at_load)
    for n_failures in range(1, MAX_FAILURES + 1):
        assert workers.free() == 1
        workers.submit(StubJob())
        ends_with(failure)
        ((job, outcome),) = workers.wait()
        assert (job, outcome.failure) == (StubJob(), failure)
        assert fake.killed == n_failures
    assert workers.free() == 0
    assert "illegal address" in str(workers.problem)
    assert pauses == ([FIRST_PAUSE_S * 2**n for n in range(MAX_FAILURES - 1)] if at_load else [])


def test_a_worker_with_a_busy_device_pauses_while_the_others_run_jobs(
    fake: FakeRay, pauses: list[float], ends_with: Callable[[Failure | None], None]
) -> None:
    workers = RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=2))
    while workers.free() < 2:
        pass
    workers.submit(StubJob())
    ends_with(Failure("DeviceError", "no room", True, False, worker_fault="busy device", at_load=True))
    workers.wait()
    assert workers.free() == 1, "the other worker"
    workers.submit(StubJob())
    ends_with(None)
    workers.wait(timeout_s=0.0)
    assert (workers.free(), pauses, workers.problem) == (1, [], None)


def dies(*_: object, **__: object) -> Outcome:
    raise WorkerLostError("a worker died")


def submit_long(workers: RayWorkers, fake: FakeRay) -> None:
    """Submit a job that does not end."""
    workers.submit(StubJob())
    fake.has_room = False
    workers.wait(timeout_s=0.0)
    fake.has_room, fake.never_ready = True, set(fake.references)


def run_and_die(workers: RayWorkers, monkeypatch: pytest.MonkeyPatch, error: Callable[..., Outcome] = dies) -> Failure:
    """Run a job during which the process of its worker dies."""
    workers.submit(StubJob())
    with monkeypatch.context() as patch:
        patch.setattr(ray_pool.FailureClassifier, "get", error)
        ((_, outcome),) = workers.wait()
    assert outcome.failure is not None
    return outcome.failure


def test_a_worker_whose_process_dies_with_every_job_pauses_and_is_retired_while_another_is_left(
    fake: FakeRay, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = started(RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=2)), 2)
    submit_long(workers, fake)
    for n_deaths in range(1, MAX_FAILURES + 1):
        assert run_and_die(workers, monkeypatch).worker_fault == "lost process"
        if n_deaths == MAX_FAILURES:
            break
        while workers.free() < 1:  # another job could have run on the other worker meanwhile
            workers.wait(timeout_s=0.0)
            ray_pool.time.sleep(FIRST_PAUSE_S)
    assert len(pauses) == sum(2**n for n in range(MAX_FAILURES - 2))
    assert (workers.free(), workers.problem, fake.killed) == (0, None, MAX_FAILURES)


def test_the_last_worker_goes_on_however_often_its_process_dies(
    fake: FakeRay, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = RayWorkers("/store", MODEL, ONE_SHARD)
    for _ in range(MAX_FAILURES + 1):
        assert workers.free() == 1
        run_and_die(workers, monkeypatch)
    assert (workers.free(), workers.problem, pauses) == (1, None, [])


def test_a_worker_that_is_killed_for_its_memory_is_replaced_without_blame(
    fake: FakeRay, pauses: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_killed(*_: object, **__: object) -> Outcome:
        raise OutOfMemoryError("a worker was killed for its memory")

    workers = started(RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=2)), 2)
    for _ in range(MAX_FAILURES + 1):
        started(workers, 2)
        failure = run_and_die(workers, monkeypatch, is_killed)
        assert (failure.is_memory, failure.worker_fault) == (True, None)
    assert (started(workers, 2).problem, pauses, caplog.messages) == (None, [], [])


def test_idle_workers_are_checked_before_they_get_a_job_of_a_worker_that_was_lost(
    fake: FakeRay, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = started(RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=3)), 3)
    run_and_die(workers, monkeypatch)
    fake.start_errors = [WorkerLostError("its node is lost"), WorkerLostError("its node is lost")]
    while workers.free() < 3:
        ray_pool.time.sleep(FIRST_PAUSE_S)
    assert workers.problem is None
    assert (fake.start_errors, fake.killed) == ([], 3), "the other two were replaced without a job"


def test_the_failure_of_a_replica_counts_although_its_other_job_succeeds(
    fake: FakeRay,
    monkeypatch: pytest.MonkeyPatch,
    ends_with: Callable[[Failure | None], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers = started(RayWorkers("/store", MODEL, TWO_SHARDS), 2)
    workers.submit(StubJob())
    run_and_die(workers, monkeypatch)
    assert (fake.removed, caplog.messages) == (0, []), "its other shard runs a job"
    ends_with(None)
    finished(workers)
    assert fake.removed == 1
    (message,) = caplog.messages
    assert "worker-0 failed" in message


def test_a_replica_whose_shards_freed_the_memory_of_a_job_stays(
    fake: FakeRay, ends_with: Callable[[Failure | None], None]
) -> None:
    for keeps_model, n_starts in ((True, 1), (False, 2)):
        workers = started(RayWorkers("/store", MODEL, TWO_SHARDS), 2)
        workers.submit(ModelJob())
        ends_with(Failure("OutOfMemoryError", "full", True, False, is_memory=True, keeps_model=keeps_model))
        fake.reserved.clear()
        finished(workers)
        assert len(fake.reserved) == n_starts - 1


def test_a_worker_that_does_not_start_is_started_again_before_it_gets_a_job(fake: FakeRay, pauses: list[float]) -> None:
    fake.start_errors = [OSError("no such file")] * 2
    workers = RayWorkers("/store", MODEL, ONE_SHARD)
    assert workers.free() == 1
    assert (fake.killed, pauses) == (2, [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S])


def test_a_run_whose_workers_never_start_ends(fake: FakeRay, pauses: list[float]) -> None:
    fake.start_errors = [OSError("no such file")] * MAX_FAILURES
    workers = RayWorkers("/store", MODEL, ONE_SHARD)
    assert workers.free() == 0
    assert "no such file" in str(workers.problem)


def test_a_run_without_any_worker_logs_what_it_waits_for_and_gives_up(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 60.0, 3600.0])
    monkeypatch.setattr(replica_actors, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    workers = RayWorkers("/store", MODEL, TWO_SHARDS)
    fake.has_room = False
    needs = "2 x (1 CPU, 1.00 GiB) and 0.50 GiB for the worker"
    with caplog.at_level(logging.WARNING), pytest.raises(WorkerLostError) as caught:
        workers.free()
    assert caught.value.context == {"waited": "60 minutes", "needed": needs, "next": ANY}
    (message,) = caplog.messages
    assert needs in message


class Scaled(Scaling):
    """Nodes as the test says: those that are usable, and the numbers of replicas that are added."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__(ONE_SHARD)
        self.usable: frozenset[str] | None = None
        self.numbers: list[int] = []
        self.keeps_any = keeps

    def usable_nodes(self) -> frozenset[str] | None:
        return self.usable

    def added(self) -> list[int]:
        numbers, self.numbers = self.numbers, []
        return numbers

    def keeps(self, number: int) -> bool:
        return self.keeps_any


@pytest.mark.parametrize("keeps", [False, True])
def test_a_worker_whose_node_leaves_finishes_its_job_and_ends_and_a_new_node_gets_a_worker(
    keeps: bool, fake: FakeRay, monkeypatch: pytest.MonkeyPatch, ends_with: Callable[[Failure | None], None]
) -> None:
    monkeypatch.setattr(ray_failures.FailureClassifier, "get", lambda *_, worker, **__: f"node-{worker}")
    scaled = Scaled(keeps=keeps)
    workers = started(RayWorkers("/store", MODEL, ONE_SHARD, scaling=scaled), 1)
    workers.submit(StubJob())
    fake.has_room = False
    scaled.usable, scaled.numbers = frozenset({"node-1"}), [1]
    assert (workers.free(), fake.killed) == (0, 0), "worker-0 still runs its job, worker-1 starts"
    fake.has_room = True
    ends_with(None)
    ((_, outcome),) = finished(workers)
    assert (outcome.failure, fake.killed) == (None, 1)
    scaled.usable = None
    monkeypatch.setattr(ray_failures.FailureClassifier, "get", lambda *_, worker, **__: f"node-{worker}")
    started(workers, 2 if keeps else 1)
    assert workers.free() == (2 if keeps else 1)
