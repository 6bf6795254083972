"""Worker and shard actors, as plain objects in this process."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from ray.exceptions import RayError

from mlprune.models.chain import Chain
from mlprune.models.shard import Shard
from mlprune.steps.job import ChainLoader, ModelRef
from mlprune.store.store import Store
from ray_jobs.workers import actors
from ray_jobs.workers.actors import ShardActor, WorkerActor
from tests.ray_jobs.workers.fake_ray import Actor, get
from tests.ray_jobs.workers.pools import MODEL, ONE_SHARD, TWO_SHARDS
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model


@dataclass(frozen=True)
class ChainJob(StubJob):
    """A job that passes its chain to a function."""

    needs_chain: ClassVar[bool] = True
    action: Callable[[Chain], object]

    def run(self, store: Store, chain: ChainLoader) -> None:
        self.action(chain())


class FakeShardActor:
    """A shard actor without a model."""

    peaks: ClassVar[list[float]] = [0.25, 64.0]
    """Peak memory of the shards, by number of their first block."""

    def __init__(self, model: ModelRef, span: range, pool: object, *, offload_level: int) -> None:
        self.model, self.span, self.offload_level = model, span, offload_level

    def call(self, method: Any, *args: Any) -> Any:
        return None if method is Shard.group_limit else (self.span, self.offload_level)

    def measure(self) -> None:
        pass

    def peak_gib(self) -> float:
        return self.peaks[self.span.start]


@dataclass
class FakePlacement:
    """Records the shards that were waited for."""

    waited: list[int] = field(default_factory=list)

    def shard_options(self, number: int) -> dict[str, float]:
        return {"num_cpus": float(number)}

    def wait(self, shards: Sequence[object]) -> None:
        self.waited.append(len(shards))


class ActorFactory:
    """Starts shard actors in this process and records their options."""

    def __init__(self) -> None:
        self.options_of: list[dict[str, object]] = []
        self.started: list[Actor] = []

    def options(self, **options: object) -> "ActorFactory":
        self.options_of.append(options)
        return self

    def remote(self, *args: Any, **kwargs: Any) -> Actor:
        self.started.append(Actor(FakeShardActor(*args, **kwargs)))
        return self.started[-1]


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> ActorFactory:
    made = ActorFactory()
    monkeypatch.setattr(actors, "actor_class", lambda _: made)
    monkeypatch.setattr(actors.ray, "get", get)
    return made


@pytest.fixture
def placement() -> FakePlacement:
    return FakePlacement()


@pytest.fixture
def worker(tmp_path: Path, factory: ActorFactory, placement: FakePlacement) -> WorkerActor:
    """A worker with two shards of one block each."""
    return WorkerActor(str(tmp_path), MODEL, TWO_SHARDS, placement=placement, number=3)  # type: ignore[arg-type]


def test_a_worker_starts_a_shard_actor_per_range_of_blocks_and_waits_for_them(
    worker: WorkerActor, factory: ActorFactory, placement: FakePlacement
) -> None:
    spans: list[tuple[range, ...]] = []
    outcome = worker.run(ChainJob(lambda chain: spans.append(chain.spans)))
    assert outcome.failure is None
    assert spans == [(range(1), range(1, 2))]
    assert placement.waited == [2]
    assert [options["num_cpus"] for options in factory.options_of] == [0.0, 1.0]
    names = [str(options["name"]) for options in factory.options_of]
    assert all(name.startswith("worker-3") for name in names)
    assert ["blocks 0-0" in names[0], "blocks 1-1" in names[1]] == [True, True]


def test_shards_are_started_once_for_several_jobs_and_again_offloaded(
    worker: WorkerActor, factory: ActorFactory
) -> None:
    seen: list[int] = []
    for level in (0, 0, 2):
        worker.run(ChainJob(lambda chain: seen.append(chain.on_block(0, Shard.sweep_clear)[1]), offload_level=level))  # type: ignore[func-returns-value, index]
    assert seen == [0, 0, 2]
    assert len(factory.started) == 4


@dataclass(frozen=True)
class OtherModelJob(ChainJob):
    """A job that runs another model than the base model."""

    model: ModelRef

    @property
    def chain_model(self) -> ModelRef:
        return self.model


def test_a_job_with_another_model_gets_shards_of_that_model(worker: WorkerActor, factory: ActorFactory) -> None:
    other = replace(MODEL, base_model_id="other", n_blocks=1)
    spans: list[tuple[range, ...]] = []
    for job in (ChainJob, partial(OtherModelJob, model=other), ChainJob):
        worker.run(job(lambda chain: spans.append(chain.spans)))
    assert spans == [(range(1), range(1, 2)), (range(1),), (range(1), range(1, 2))]
    assert [actor.plain.model for actor in factory.started] == [MODEL, MODEL, other, MODEL, MODEL]


def test_the_peak_memory_of_a_job_is_that_of_the_largest_process(worker: WorkerActor) -> None:
    assert worker.run(ChainJob(lambda _: None)).peak_memory_gib == 64.0
    assert worker.run(StubJob()).peak_memory_gib < 64.0


def test_the_outcome_is_returned_even_if_a_shard_is_lost_afterwards(
    worker: WorkerActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: object) -> None:
        raise RayError("the actor died")

    def lose(_: Chain) -> None:
        monkeypatch.setattr(actors.ray, "get", lost)

    outcome = worker.run(ChainJob(lose))
    assert outcome.failure is None
    assert 0 < outcome.peak_memory_gib < 64.0


def test_no_reference_keeps_the_shards_of_an_earlier_load(worker: WorkerActor, factory: ActorFactory) -> None:
    worker.run(ChainJob(lambda _: None))
    first = [weakref.ref(actor) for actor in factory.started]
    factory.started.clear()
    worker.run(ChainJob(lambda _: None, offload_level=2))
    gc.collect()
    assert [reference() for reference in first] == [None, None]


def test_a_worker_of_one_shard_runs_the_model_in_its_own_process(
    tmp_path: Path, factory: ActorFactory, placement: FakePlacement
) -> None:
    folder = save_tiny_model(tmp_path / "model", "gpt2", seed=4)
    model = ModelRef("model", str(folder), "gpt2", n_blocks=3, max_positions=64, dtype="float32")
    worker = WorkerActor(str(tmp_path / "store"), model, ONE_SHARD, placement=placement, number=0)  # type: ignore[arg-type]
    spans: list[tuple[range, ...]] = []
    outcome = worker.run(ChainJob(lambda chain: spans.append(chain.spans)))
    assert (outcome.failure, spans, factory.started) == (None, [(range(3),)], [])


def test_a_shard_actor_calls_methods_of_its_shard_and_measures_its_memory(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, "gpt2", seed=4)
    model = ModelRef("model", str(folder), "gpt2", n_blocks=3, max_positions=64, dtype="float32")
    actor = ShardActor(model, range(1, 3), TWO_SHARDS, offload_level=0)
    assert actor.call(lambda shard: shard.blocks) == range(1, 3)
    actor.measure()
    assert 0 < actor.peak_gib() < 64
