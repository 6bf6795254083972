"""Actors and offers of nodes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import ray
from ray.exceptions import RayError

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.shard import Shard
from mlprune.steps.job import ChainLoader, ModelRef
from mlprune.store.store import Store
from ray_jobs.workers import actors
from ray_jobs.workers.actors import Offers, ShardActor, WorkerActor
from ray_jobs.workers.recovery import Failure
from tests.chains import text_batch
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


def test_a_job_sees_the_latest_offer_until_it_ends() -> None:
    offers: Offers[str] = Offers()
    offers.begin(1, {"a": "A"})
    assert offers.current() == {"a": "A"}
    offers.offer(1, {"a": "A", "b": "B"})
    assert offers.current() == {"a": "A", "b": "B"}
    offers.end()
    offers.offer(1, {"c": "C"})
    assert offers.current() == {}


def test_an_offer_that_arrives_before_its_job_is_kept_for_it() -> None:
    offers: Offers[str] = Offers()
    offers.begin(1, {})
    offers.offer(2, {"a": "A"})
    assert offers.current() == {}
    offers.end()
    offers.begin(2, {})
    assert offers.current() == {"a": "A"}
    offers.end()
    offers.begin(3, {"b": "B"})
    assert offers.current() == {"b": "B"}


def test_what_was_given_back_is_not_offered_again_before_the_pool_knows_it() -> None:
    offers: Offers[str] = Offers()
    offers.begin(1, {"a": "A", "b": "B"})
    offers.give_back("a")
    offers.offer(1, {"a": "A", "b": "B"})
    assert offers.current() == {"b": "B"}
    assert offers.wait_given_back(1) == ("a",)
    offers.end()
    assert offers.wait_given_back(1) == ()


def test_waiting_ends_when_a_replica_is_given_back_or_the_job_ends() -> None:
    offers: Offers[str] = Offers()
    with ThreadPoolExecutor(1) as threads:
        given_back = threads.submit(offers.wait_given_back, 1)
        offers.begin(1, {"a": "A"})
        offers.give_back("a")
        assert given_back.result(timeout=300) == ("a",)
        nothing = threads.submit(offers.wait_given_back, 1)
        offers.end()
        assert nothing.result(timeout=300) == ()


BATCHES = [text_batch([number % 4]) for number in range(6)]


@dataclass(frozen=True)
class StreamJob(StubJob):
    """A job that observes some batches and starts a sweep with them."""

    needs_chain: ClassVar[bool] = True
    shares_replicas: ClassVar[bool] = True
    sums: ClassVar[list[bytes]] = []

    def run(self, store: Store, chain: ChainLoader) -> None:
        model = chain()
        for observation in model.stream(StatisticsVisitor, BATCHES):
            self.sums.append(observation.sums[0, "attn.c_attn"].numpy().tobytes())
        for key, batch in enumerate(BATCHES):
            model.on_block(0, Shard.sweep_start, key, batch)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), "gpt2", seed=4)
    return ModelRef("model", str(folder), "gpt2", n_blocks=3, max_positions=64, dtype="float32")


@pytest.fixture
def workers(model: ModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Actor]:
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "wait", lambda references, **_: (references, []))
    pool = replace(ONE_SHARD, n_blocks=3, resident=(3,))
    made = [WorkerActor(str(tmp_path), model, pool, number=n) for n in range(2)]
    return [Actor(worker) for worker in made]


def has_states(worker: Actor) -> bool:
    """Whether a worker has states of a sweep; they are removed."""
    chain = worker.plain._worker._load(None, offload_level=0)
    present = False
    for key in range(len(BATCHES)):
        try:
            chain.on_block(0, Shard.sweep_release, key)
            present = True
        except KeyError:
            continue
    return present


def test_workers_that_share_a_job_compute_the_results_of_one(workers: list[Actor]) -> None:
    first, second = workers
    StreamJob.sums.clear()
    assert first.plain.run(StreamJob()).failure is None
    expected = list(StreamJob.sums)
    StreamJob.sums.clear()
    outcome = first.plain.run(StreamJob(), {"second": second}, 1)
    assert (outcome.failure, StreamJob.sums) == (None, expected)
    assert outcome.n_tokens == 2 * sum(batch.n_computed for batch in BATCHES)
    assert second.calls.count("help") > 3
    assert second.calls[-1] == "peak_gib"


@dataclass(frozen=True)
class JoinedJob(StreamJob):
    """A job that another worker joins between its two passes."""

    helpers: ClassVar[dict[str, Actor]] = {}
    owner: ClassVar[list[Actor]] = []

    def run(self, store: Store, chain: ChainLoader) -> None:
        super().run(store, chain)
        self.owner[0].plain.offer(1, self.helpers)
        super().run(store, chain)


def test_a_worker_joins_a_job_that_runs(workers: list[Actor]) -> None:
    first, second = workers
    JoinedJob.helpers, JoinedJob.owner = {"second": second}, [first]  # type: ignore[misc]
    StreamJob.sums.clear()
    assert first.plain.run(JoinedJob(), {}, 1).failure is None
    assert StreamJob.sums[: len(BATCHES)] == StreamJob.sums[len(BATCHES) :]
    assert second.calls.count("help") > 3
    assert first.plain.given_back(1) == ()


def test_the_states_of_a_shared_job_are_dropped_when_it_has_ended(workers: list[Actor]) -> None:
    first, second = workers
    first.plain.run(StreamJob(), {"second": second}, 1)
    assert second.plain.stop_helping() is None
    assert not has_states(second)
    assert has_states(first)


class Broken:
    """A task whose device breaks."""

    def __call__(self, _: Chain) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_helper_with_a_broken_device_is_to_blame_and_not_the_worker_of_the_job(workers: list[Actor]) -> None:
    helper = workers[1].plain
    with pytest.raises(WorkerLostError, match="another replica"):
        helper.help(None, 0, Broken())
    failure = helper.stop_helping()
    assert isinstance(failure, Failure)
    assert failure.worker_fault == "broken device"
    assert helper.stop_helping() is None


def test_a_lost_helper_does_not_fail_the_job(workers: list[Actor]) -> None:
    class Lost:
        def __getattr__(self, _: str) -> "Lost":
            return self

        def remote(self, *_: object) -> object:
            return LOST

    LOST = object()

    def get_or_lose(references: object) -> object:
        if references is LOST or (isinstance(references, list) and LOST in references):
            raise RayError("the actor died")
        return get(references)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "get", get_or_lose)
        StreamJob.sums.clear()
        outcome = workers[0].plain.run(StreamJob(), {"lost": Lost()}, 1)
    assert (outcome.failure, len(StreamJob.sums)) == (None, len(BATCHES))


def test_items_are_streamed_in_groups_of_one_batch_per_thread_unless_blocks_are_on_disk(model: ModelRef) -> None:
    sizes = [
        actors.JobReplicas(Offers(), StreamJob(), pool)._group_size
        for pool in (
            replace(ONE_SHARD, model_threads=3),
            replace(ONE_SHARD, resident=(1,)),
            replace(ONE_SHARD, n_shards=2),
        )
    ]
    assert sizes == [3, None, None]
