"""The pool of actors lets idle workers (helpers) share a job and takes them back, with a fake Ray."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
from ray.exceptions import RayError

from ray_jobs.workers import ray_failures, ray_pool, replica_actors, shared_jobs
from ray_jobs.workers.ray_pool import RayWorkers
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome
from tests.ray_jobs.workers.pools import MODEL, ONE_SHARD
from tests.stub_jobs import StubJob

FAULT = Failure("DeviceError", "broken", True, False, worker_fault="broken device")


@dataclass(frozen=True)
class SharedJob(StubJob):
    """A job that workers can share."""

    step: ClassVar[str] = "sweep"
    needs_chain: ClassVar[bool] = True
    shares_replicas: ClassVar[bool] = True


@dataclass(eq=False)
class FakeActor:
    """A worker actor; its methods return the object references of the test."""

    references: dict[str, object] = field(default_factory=dict)
    jobs: list[tuple[object, ...]] = field(default_factory=list)
    offers: list[tuple[int, dict[str, "FakeActor"]]] = field(default_factory=list)

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *args: self.call(name, args))

    def call(self, name: str, args: tuple[object, ...]) -> object:
        if name == "run":
            self.jobs.append(args)
        elif name == "offer":
            self.offers.append(args)  # type: ignore[arg-type]
        self.references[name] = object()
        return self.references[name]


class FakeRay:
    """Object references are ready, and have values, as the test says."""

    def __init__(self) -> None:
        self.actors: list[FakeActor] = []
        self.ready: list[object] = []
        self.values: dict[object, object] = {}
        self.killed: list[object] = []
        self.timeouts: list[float | None] = []
        self.kill = self.killed.append

    def options(self, **_: object) -> SimpleNamespace:
        return SimpleNamespace(remote=self.start)

    def start(self, *_: object, **__: object) -> FakeActor:
        self.actors.append(FakeActor())
        return self.actors[-1]

    def wait(self, references: list[object], *, num_returns: int, timeout: float | None) -> tuple[list[object], ...]:
        self.timeouts.append(timeout)
        ready = [reference for reference in references if reference in self.ready][:num_returns]
        return ready, [reference for reference in references if reference not in ready]

    def get(self, reference: object) -> object:
        value = self.values.get(id(reference))
        if isinstance(value, Exception):
            raise value
        return value

    def finish(self, actor: FakeActor, method: str, value: object = None) -> None:
        """Let a called method of an actor end."""
        self.ready.append(actor.references[method])
        self.values[id(actor.references[method])] = value


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(ray_pool, "ray", made)
    monkeypatch.setattr(ray_failures, "ray", made)
    monkeypatch.setattr(replica_actors, "ray", made)
    monkeypatch.setattr(shared_jobs, "ray", made)
    monkeypatch.setattr(replica_actors, "actor_class", lambda _: made)
    return made


def started(fake: FakeRay, n_workers: int) -> RayWorkers:
    """A pool whose workers have started."""
    workers = RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=n_workers))
    for actor in fake.actors:
        fake.finish(actor, "node_id")
    assert workers.spare(0) == n_workers
    return workers


def done(failure: Failure | None = None) -> Outcome:
    return Outcome(("variants", "x"), "sweep", "", "worker-0", "", 1.0, 0.0, failure)


def test_helpers_get_no_job_until_the_shared_job_has_ended_and_they_have_dropped_its_states(fake: FakeRay) -> None:
    workers = started(fake, 3)
    first, second, third = fake.actors
    workers.submit(SharedJob(), n_helpers=2)
    assert first.jobs == [(SharedJob(), {"worker-1, start 1": second, "worker-2, start 1": third}, 1)]
    assert workers.free() == 0
    fake.finish(first, "run", done())
    assert len(workers.wait()) == 1
    assert workers.free() == 1
    fake.finish(second, "stop_helping")
    fake.finish(third, "stop_helping")
    assert workers.wait() == []
    assert workers.wait() == []
    assert workers.free() == 3


@pytest.mark.parametrize(
    ("value", "n_started"), [(None, 2), (FAULT, 3), (RayError("died"), 3), (replace(FAULT, worker_fault=None), 2)]
)
def test_a_helper_that_cannot_go_on_is_replaced(fake: FakeRay, value: object, n_started: int) -> None:
    workers = started(fake, 2)
    first, second = fake.actors
    workers.submit(SharedJob(), n_helpers=1)
    fake.finish(first, "run", done())
    workers.wait()
    fake.finish(second, "stop_helping", value)
    workers.wait()
    workers.free()
    assert len(fake.actors) == n_started
    assert fake.killed == [second] * (n_started - 2)


def test_helpers_of_a_worker_that_died_are_free_again(fake: FakeRay) -> None:
    workers = started(fake, 2)
    first, second = fake.actors
    workers.submit(SharedJob(), n_helpers=1)
    fake.finish(first, "run", RayError("died"))
    ((_, outcome),) = workers.wait()
    assert outcome.failure is not None
    assert (outcome.failure.error, fake.killed) == ("WorkerLostError", [first])
    fake.finish(second, "stop_helping")
    workers.wait()
    assert workers.free() == 1


def test_a_shared_job_waits_once_for_workers_that_are_starting(fake: FakeRay) -> None:
    workers = RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=3))
    fake.finish(fake.actors[0], "node_id")
    assert workers.free() == 1
    fake.timeouts.clear()
    assert workers.spare(1) == 0
    assert fake.timeouts == [ray_pool.START_WAIT_S]
    assert workers.spare(1) == 0
    assert fake.timeouts == [ray_pool.START_WAIT_S]
    fake.finish(fake.actors[2], "node_id")
    assert workers.free() == 2
    assert workers.spare(1) == 1


def test_closing_the_pool_kills_workers_that_help(fake: FakeRay) -> None:
    workers = started(fake, 2)
    workers.submit(SharedJob(), n_helpers=1)
    workers.close()
    assert sorted(map(id, fake.killed)) == sorted(map(id, fake.actors))


def offered(actor: FakeActor) -> list[FakeActor]:
    """The workers that are offered to the job of an actor."""
    _, helpers = actor.offers[-1]
    return list(helpers.values())


def test_idle_workers_join_a_running_job(fake: FakeRay) -> None:
    workers = started(fake, 3)
    first, second, third = fake.actors
    workers.submit(SharedJob())
    workers.submit(StubJob())
    busy = second if second.jobs else third
    assert workers.free() == 1
    workers.share([StubJob()])
    assert workers.free() == 1
    workers.share([SharedJob()])
    assert offered(first) == [third if busy is second else second]
    assert workers.free() == 0
    fake.finish(first, "run", done())
    workers.wait()
    assert workers.free() == 1


def test_workers_are_taken_back_when_the_job_gives_them_back(fake: FakeRay) -> None:
    workers = started(fake, 3)
    first, second, third = fake.actors
    workers.submit(SharedJob(), n_helpers=2)
    workers.recall(1)
    workers.recall(1)
    assert [offered(first), len(first.offers)] == [[second], 1]
    fake.finish(first, "given_back", ("worker-2, start 1",))
    assert workers.wait() == []
    assert workers.free() == 0
    fake.finish(third, "stop_helping")
    assert workers.wait() == []
    assert workers.free() == 1
    fake.finish(first, "run", done())
    fake.finish(first, "given_back", ())
    workers.wait()
    fake.finish(second, "stop_helping")
    workers.wait()
    assert workers.free() == 3


def test_a_worker_that_a_job_has_lost_is_replaced_and_shares_it_again(fake: FakeRay) -> None:
    workers = started(fake, 2)
    first, second = fake.actors
    workers.submit(SharedJob(), n_helpers=1)
    fake.finish(first, "given_back", ("worker-1, start 1",))
    workers.wait()
    fake.finish(second, "stop_helping", RayError("died"))
    workers.wait()
    workers.free()
    assert (len(fake.actors), fake.killed) == (3, [second])
    fake.finish(fake.actors[2], "node_id", "node")
    workers.wait()
    workers.share([SharedJob()])
    assert offered(first) == [fake.actors[2]]


def test_no_worker_is_taken_back_from_jobs_that_are_not_shared(fake: FakeRay) -> None:
    workers = started(fake, 2)
    workers.submit(SharedJob())
    workers.recall(2)
    assert fake.actors[0].offers == []
