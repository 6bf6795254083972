"""A replica with a fake Ray: the actor that each job runs on."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from ray_jobs.workers import replica_actors
from ray_jobs.workers.replica_actors import ReplicaActors
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
