"""Replicas that are offered to a job while it runs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

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
from ray_jobs.workers.actors import Offers, WorkerActor
from ray_jobs.workers.recovery import Failure
from tests.chains import text_batch
from tests.ray_jobs.workers.fake_ray import Actor, get
from tests.ray_jobs.workers.pools import ONE_SHARD
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model


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
