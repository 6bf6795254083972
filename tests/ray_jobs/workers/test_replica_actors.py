"""Actors of a replica and their helpers."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from ray.exceptions import RayError

from mlprune.planning.resources.node_capacity import Pool
from ray_jobs.workers import ray_failures, ray_pool, replica_actors, shared_jobs
from ray_jobs.workers.ray_pool import RayWorkers
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.replica_actors import ReplicaActors, ReplicaPlacement, format_needs
from ray_jobs.workers.worker import Outcome
from tests.ray_jobs.workers.fake_ray import Actor
from tests.ray_jobs.workers.pools import MODEL, ONE_SHARD, TWO_SHARDS
from tests.stub_jobs import StubJob


@dataclass(frozen=True)
class BlockJob(StubJob):
    """A job that reads the weights of one block."""

    block: int

    @property
    def reads_block(self) -> int:
        return self.block


@dataclass(frozen=True)
class ModelJob(StubJob):
    """A job that runs the model."""

    needs_chain: ClassVar[bool] = True


class NamedActor:
    """An actor whose jobs return its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *_: object) -> str:
        return self.name


class ActorFactory:
    """Starts named actors."""

    def options(self, *, name: str, **_: object) -> "ActorFactory":
        self.name = name
        return self

    def remote(self, *_: object, **__: object) -> Actor:
        return Actor(NamedActor(self.name))


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_actors, "actor_class", lambda _: ActorFactory())
    for name in ("placement_group", "PlacementGroupSchedulingStrategy"):
        monkeypatch.setattr(replica_actors, name, lambda *_, **__: None)


def started(replica: ReplicaActors, *jobs: StubJob) -> list[tuple[Any, str]]:
    references: list[Any] = [replica.start(job) for job in jobs]
    return [(reference, reference.value) for reference in references]


def test_a_job_runs_on_the_free_shard_that_has_its_block_or_on_any_free_one() -> None:
    of_two = ReplicaActors("/store", MODEL, TWO_SHARDS, number=0, name="r")
    (first, where), (_, second) = started(of_two, BlockJob(1), BlockJob(1))
    assert (where, second, of_two.n_free) == ("r, shard 1", "r, shard 0", 0)
    of_two.finish(first)
    ((_, third),) = started(of_two, StubJob())
    assert (third, of_two.n_free) == ("r, shard 1", 0)


def test_a_job_that_runs_the_model_runs_in_the_worker_and_uses_all_shards() -> None:
    of_two = ReplicaActors("/store", MODEL, TWO_SHARDS, number=0, name="r")
    ((first, where),) = started(of_two, ModelJob())
    assert (where, of_two.n_free, of_two.is_busy) == ("r", 0, True)
    of_two.finish(first)
    assert (of_two.n_free, of_two.is_busy) == (2, False)


def test_a_model_in_one_process_runs_every_job_in_the_worker() -> None:
    for job in (StubJob(), ModelJob()):
        whole = ReplicaActors("/store", MODEL, ONE_SHARD, number=0, name="r")
        ((_, where),) = started(whole, job)
        assert (where, whole.n_free) == ("r", 0)


Labels = list[dict[str, str]] | None


class FakeGroup:
    """A placement group."""

    def __init__(self, bundles: list[dict[str, float]], *, strategy: str, name: str, labels: Labels) -> None:
        self.bundles, self.strategy, self.name, self.labels = bundles, strategy, name, labels


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[FakeGroup]:
    """The placement groups that exist."""
    made: list[FakeGroup] = []

    def make(bundles: list[dict[str, float]], *, strategy: str, name: str, bundle_label_selector: Labels) -> FakeGroup:
        made.append(FakeGroup(bundles, strategy=strategy, name=name, labels=bundle_label_selector))
        return made[-1]

    monkeypatch.setattr(replica_actors, "placement_group", make)
    monkeypatch.setattr(replica_actors, "remove_placement_group", made.remove)
    monkeypatch.setattr(replica_actors, "PlacementGroupSchedulingStrategy", lambda group, bundle: (group, bundle))
    return made


def test_a_replica_of_one_shard_is_one_actor_with_all_resources(groups: list[FakeGroup]) -> None:
    placement = ReplicaPlacement(ONE_SHARD, name="worker-0")
    assert placement.worker_options() == {"num_cpus": 1.0, "num_gpus": 0.0, "memory": 2**30}
    placement.release()
    assert groups == []


def test_worker_and_shards_have_a_bundle_each_of_one_group(groups: list[FakeGroup]) -> None:
    placement = ReplicaPlacement(replace(TWO_SHARDS, n_gpus=0.5), name="worker-0")
    (group,) = groups
    shard = {"CPU": 1.0, "GPU": 0.5, "memory": 2**30}
    assert (group.bundles, group.strategy) == ([{"memory": 2**29}, shard, shard], "PACK")
    worker = placement.worker_options()
    assert (worker["num_cpus"], worker["memory"], worker["scheduling_strategy"]) == (0, 2**29, (group, 0))
    strategies = [placement.shard_options(number)["scheduling_strategy"] for number in range(2)]
    assert strategies == [(group, 1), (group, 2)]
    placement.release()
    assert groups == []


def test_actors_run_only_on_nodes_with_the_labels_of_the_pool(groups: list[FakeGroup]) -> None:
    labels = {"ray.io/accelerator-type": "H100"}
    whole = ReplicaPlacement(replace(ONE_SHARD, node_labels=labels), name="worker-0")
    assert whole.worker_options()["label_selector"] == labels
    split = ReplicaPlacement(replace(TWO_SHARDS, node_labels=labels), name="worker-0")
    assert groups[0].labels == [labels] * 3
    assert "label_selector" not in split.shard_options(0), "Ray takes one of bundle and label"
    assert "ray.io/accelerator-type: H100" in format_needs(replace(TWO_SHARDS, node_labels=labels))


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (ONE_SHARD, "1 CPU, 1.00 GiB"),
        (replace(ONE_SHARD, n_gpus=0.5), "1 CPU, 0.5 GPU, 1.00 GiB"),
        (TWO_SHARDS, "2 x (1 CPU, 1.00 GiB) and 0.50 GiB for the worker"),
    ],
)
def test_the_needs_of_a_replica_have_cpus_gpus_and_memory(pool: Pool, text: str) -> None:
    assert format_needs(pool) == text


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


def started_pool(fake: FakeRay, n_workers: int) -> RayWorkers:
    """A pool whose workers have started."""
    workers = RayWorkers("/store", MODEL, replace(ONE_SHARD, n_workers=n_workers))
    for actor in fake.actors:
        fake.finish(actor, "node_id")
    assert workers.spare(0) == n_workers
    return workers


def done(failure: Failure | None = None) -> Outcome:
    return Outcome(("variants", "x"), "sweep", "", "worker-0", "", 1.0, 0.0, failure)


def test_helpers_get_no_job_until_the_shared_job_has_ended_and_they_have_dropped_its_states(fake: FakeRay) -> None:
    workers = started_pool(fake, 3)
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
    workers = started_pool(fake, 2)
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
    workers = started_pool(fake, 2)
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
    workers = started_pool(fake, 2)
    workers.submit(SharedJob(), n_helpers=1)
    workers.close()
    assert sorted(map(id, fake.killed)) == sorted(map(id, fake.actors))


def offered(actor: FakeActor) -> list[FakeActor]:
    """The workers that are offered to the job of an actor."""
    _, helpers = actor.offers[-1]
    return list(helpers.values())


def test_idle_workers_join_a_running_job(fake: FakeRay) -> None:
    workers = started_pool(fake, 3)
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
    workers = started_pool(fake, 3)
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
    workers = started_pool(fake, 2)
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
    workers = started_pool(fake, 2)
    workers.submit(SharedJob())
    workers.recall(2)
    assert fake.actors[0].offers == []
