"""Worker and shard actors, as plain objects in this process."""

from collections.abc import Callable
from dataclasses import dataclass, replace
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

    def __init__(self, peak_gib: float) -> None:
        self._peak_gib = peak_gib
        self.loads: list[tuple[str, range, int]] = []
        """Model, blocks and level of offloading."""

    def load(self, model: ModelRef, span: range, *, offload_level: int) -> None:
        self.loads.append((model.base_model_id, span, offload_level))

    def unload(self) -> None:
        self.loads.append(("", range(0), 0))

    def call(self, method: Any, *args: Any) -> Any:
        return None if method is Shard.group_limit else self.loads[-1]

    def measure(self) -> None:
        pass

    def peak_gib(self) -> float:
        return self._peak_gib


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.ray, "get", get)


@pytest.fixture
def shards() -> list[Actor]:
    return [Actor(FakeShardActor(peak)) for peak in (0.25, 64.0)]


@pytest.fixture
def worker(tmp_path: Path, shards: list[Any]) -> WorkerActor:
    """A worker with two shards of one block each."""
    return WorkerActor(str(tmp_path), MODEL, TWO_SHARDS, shards=shards, number=3)


def test_a_worker_loads_a_range_of_blocks_into_each_of_its_shards(worker: WorkerActor, shards: list[Actor]) -> None:
    spans: list[tuple[range, ...]] = []
    outcome = worker.run(ChainJob(lambda chain: spans.append(chain.spans)))
    assert outcome.failure is None
    assert outcome.worker.startswith("worker-3")
    assert spans == [(range(1), range(1, 2))]
    assert [shard.plain.loads for shard in shards] == [[("model", span, 0)] for span in spans[0]]


def test_shards_are_loaded_once_for_several_jobs_and_again_offloaded(worker: WorkerActor, shards: list[Actor]) -> None:
    seen: list[int] = []
    for level in (0, 0, 2):
        worker.run(ChainJob(lambda chain: seen.append(chain.on_block(0, Shard.sweep_clear)[2]), offload_level=level))  # type: ignore[func-returns-value, index]
    assert seen == [0, 0, 2]
    assert len(shards[0].plain.loads) == 2


@dataclass(frozen=True)
class OtherModelJob(ChainJob):
    """A job that runs another model than the base model."""

    model: ModelRef

    @property
    def chain_model(self) -> ModelRef:
        return self.model


def test_a_job_with_another_model_gets_shards_of_that_model(worker: WorkerActor, shards: list[Actor]) -> None:
    other = replace(MODEL, base_model_id="other", n_blocks=1)
    spans: list[tuple[range, ...]] = []
    for job in (ChainJob, partial(OtherModelJob, model=other), ChainJob):
        worker.run(job(lambda chain: spans.append(chain.spans)))
    assert spans == [(range(1), range(1, 2)), (range(1),), (range(1), range(1, 2))]
    assert [load[0] for load in shards[0].plain.loads] == ["model", "other", "model"]
    assert [load[0] for load in shards[1].plain.loads] == ["model", "", "model"], "it has no block of the other model"


def test_the_peak_memory_of_a_job_is_that_of_the_largest_process(worker: WorkerActor) -> None:
    assert worker.run(ChainJob(lambda _: None)).peak_memory_gib == 64.0


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


@pytest.fixture
def tiny_model(tmp_path: Path) -> ModelRef:
    folder = save_tiny_model(tmp_path / "model", "gpt2", seed=4)
    return ModelRef("model", str(folder), "gpt2", n_blocks=3, max_positions=64, dtype="float32")


def test_a_worker_of_one_shard_runs_the_model_in_its_own_process(tmp_path: Path, tiny_model: ModelRef) -> None:
    worker = WorkerActor(str(tmp_path / "store"), tiny_model, ONE_SHARD, number=0)
    spans: list[tuple[range, ...]] = []
    outcome = worker.run(ChainJob(lambda chain: spans.append(chain.spans)))
    assert (outcome.failure, spans) == (None, [(range(3),)])


def test_a_shard_actor_replaces_its_blocks_calls_them_and_measures_its_memory(
    tmp_path: Path, tiny_model: ModelRef
) -> None:
    actor = ShardActor(str(tmp_path), tiny_model, TWO_SHARDS, number=0)
    for span in (range(1), range(1, 3)):
        actor.load(tiny_model, span, offload_level=0)
        assert actor.call(lambda shard: shard.blocks) == span
    actor.measure()
    assert 0 < actor.peak_gib() < 64
    actor.unload()
    with pytest.raises(AssertionError):
        actor.call(lambda shard: shard.blocks)


def test_a_shard_actor_runs_jobs_that_do_not_run_the_model(tmp_path: Path, tiny_model: ModelRef) -> None:
    actor = ShardActor(str(tmp_path), tiny_model, TWO_SHARDS, number=5)
    outcome = actor.run(StubJob())
    assert (outcome.failure, outcome.worker.partition(" ")[0]) == (None, "worker-5")
