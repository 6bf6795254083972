"""Workers: the failures they report and the model they load for a job."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from mlprune.errors import WorkerLostError
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import TokenBatch
from mlprune.processes.parallel import n_threads, set_worker_threads
from mlprune.steps.job import HALF_MODEL, ChainLoader, ModelRef, RecordKey, make_identity
from mlprune.store.store import Store
from ray_jobs.workers.recovery.failures import Failure
from ray_jobs.workers.worker import Worker, drop_states
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model


@dataclass(frozen=True)
class ActionJob(StubJob):
    """A job that calls a function with the spans of its chain, which name the chain here."""

    step: ClassVar[str] = "observe"
    needs_chain: ClassVar[bool] = True
    action: Callable[[Any], None]

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("statistics", "a"),)

    def run(self, store: Store, chain: ChainLoader) -> None:
        self.action(chain().spans)


@dataclass(frozen=True)
class CountingJob(StubJob):
    """A job without a model that calls a function."""

    action: Callable[[], None]

    def run(self, store: Store, chain: ChainLoader) -> None:
        self.action()


@dataclass(frozen=True)
class ModelJob(ActionJob):
    """A job that runs another model than the base model."""

    model: ModelRef

    @property
    def chain_model(self) -> ModelRef:
        return self.model


@pytest.fixture
def loaded() -> list[str]:
    """Names of the loaded chains, in order."""
    return []


@pytest.fixture
def worker(tmp_path: Path, loaded: list[str]) -> Worker:
    def load(_: ModelRef | None, *, offload_level: int) -> Any:
        loaded.append("offloaded" if offload_level else "whole")
        return SimpleNamespace(spans=loaded[-1])

    return Worker(str(tmp_path), load, name="worker-0")


def test_a_chain_is_loaded_once_and_again_after_a_transient_failure(worker: Worker, loaded: list[str]) -> None:
    def fail(chain: Any) -> None:
        raise WorkerLostError("a shard died")

    seen: list[Any] = []
    assert loaded == []
    for action in (seen.append, seen.append, fail, seen.append):
        worker.run(ActionJob(action))
    assert loaded == ["whole", "whole"]
    assert seen == ["whole"] * 3


def test_a_job_at_the_offloaded_level_gets_an_offloaded_chain_and_the_next_job_does_not(
    worker: Worker, loaded: list[str]
) -> None:
    seen: list[Any] = []
    for level in (0, HALF_MODEL, HALF_MODEL, 0):
        assert worker.run(ActionJob(seen.append, offload_level=level)).failure is None
    assert seen == ["whole", "offloaded", "offloaded", "whole"]
    assert loaded == ["whole", "offloaded", "whole"]


def test_a_job_with_another_model_gets_its_chain_and_one_chain_is_loaded_at_a_time(tmp_path: Path) -> None:
    asked: list[ModelRef | None] = []

    def load(model: ModelRef | None, *, offload_level: int) -> Any:
        asked.append(model)
        return SimpleNamespace(spans=model)

    seen: list[Any] = []
    worker = Worker(str(tmp_path), load, name="worker-0")
    big, small = (ModelRef(name, name, "xglm", 3, None, "float32") for name in ("big", "small"))
    for model in (big, big, small, small, big):
        assert worker.run(ModelJob(seen.append, model)).failure is None
    assert seen == [big, big, small, small, big]
    assert asked == [big, small, big]


def test_an_error_of_a_job_becomes_its_failure(worker: Worker) -> None:
    def fail(chain: Any) -> None:
        raise ValueError("two\nlines")

    assert worker.run(ActionJob(fail)).failure == Failure("ValueError", "ValueError: two lines", False, False, False)


def broken_device(_: object) -> None:
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def full_device(_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    ("error", "in_job", "at_load"),
    [
        (broken_device, ("DeviceError", "broken device"), ("DeviceError", "broken device")),
        (full_device, ("OutOfMemoryError", None), ("DeviceError", "busy device")),
    ],
)
def test_a_failure_says_whether_the_model_could_not_be_loaded(
    error: Callable[[Any], None], in_job: object, at_load: object, tmp_path: Path, worker: Worker
) -> None:
    failure = worker.run(ActionJob(error)).failure
    assert failure is not None
    assert ((failure.error, failure.worker_fault), failure.at_load) == (in_job, False)

    def fail(model: object, *, offload_level: int) -> Any:
        error(model)

    failure = Worker(str(tmp_path), fail, name="w").run(ActionJob(str)).failure
    assert failure is not None
    assert ((failure.error, failure.worker_fault), failure.at_load) == (at_load, True)


def test_a_failure_after_a_failed_load_is_not_one_of_loading(tmp_path: Path) -> None:
    loads = iter([None, SimpleNamespace(spans="chain")])

    def load(_: object, *, offload_level: int) -> Any:
        chain = next(loads)
        return chain or full_device(None)

    worker = Worker(str(tmp_path), load, name="w")
    outcomes = [worker.run(ActionJob(broken_device)) for _ in range(2)]
    assert [outcome.failure and outcome.failure.at_load for outcome in outcomes] == [True, False]


def test_a_worker_survives_that_its_broken_device_cannot_free_memory(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: broken_device(None))
    failure = worker.run(ActionJob(broken_device)).failure
    assert failure is not None
    assert failure.worker_fault == "broken device"


class ShardsChain:
    """A chain that records what its shards are asked."""

    spans = "chain"

    def __init__(self, *, is_lost: bool) -> None:
        self.is_lost = is_lost
        self.asked: list[object] = []

    def everywhere(self, method: object) -> None:
        self.asked.append(method)
        if self.is_lost:
            raise WorkerLostError("a shard was killed for its memory")


@pytest.mark.parametrize(("is_lost", "n_loads"), [(False, 1), (True, 2)])
def test_the_model_stays_loaded_after_a_job_ran_out_of_memory_unless_a_shard_is_lost(
    is_lost: bool, n_loads: int, tmp_path: Path
) -> None:
    chains: list[Any] = []

    def load(_: object, *, offload_level: int) -> Any:
        chains.append(ShardsChain(is_lost=is_lost))
        return chains[-1]

    worker = Worker(str(tmp_path), load, name="w")
    failure = worker.run(ActionJob(full_device)).failure
    assert failure is not None
    assert (failure.is_memory, failure.keeps_model) == (True, not is_lost)
    assert worker.run(ActionJob(str)).failure is None
    assert (len(chains), chains[0].asked) == (n_loads, [drop_states])


def test_a_job_that_ran_out_of_memory_leaves_no_states_in_the_model(tmp_path: Path) -> None:
    chain = local_chain(save_tiny_model(tmp_path))
    (shard,) = chain.shards
    ids = torch.tensor([[5, 6, 7]])
    mask = torch.ones_like(ids, dtype=torch.bool)
    shard.sweep_start("batch", TokenBatch(ids, mask, mask))
    shard.begin_prefix("prompt")
    chain.everywhere(drop_states)
    assert shard.runner.caches.open_sessions == ()
    with pytest.raises(KeyError):
        shard.sweep_release("batch")


def test_jobs_that_run_the_model_have_threads_of_their_own(tmp_path: Path) -> None:
    counted: list[int] = []
    worker = Worker(
        str(tmp_path), lambda *_, **__: SimpleNamespace(spans=()), name="worker-0", threads=3, model_threads=2
    )
    try:
        for job in (CountingJob(lambda: counted.append(n_threads())), ActionJob(lambda _: counted.append(n_threads()))):
            assert worker.run(job).failure is None
            assert worker.run(job).failure is None
    finally:
        set_worker_threads(1)
    assert counted == [3, 3, 2, 2]


@dataclass(frozen=True)
class WritingJob(StubJob):
    """A job that writes a record with one file."""

    def run(self, store: Store, chain: ChainLoader) -> None:
        artefact = store.write_bytes("masks/a.bin", b"12345")
        store.write_record(make_identity("masks", {"name": "a"}).record(artefacts=(artefact,)))


def test_the_bytes_of_files_are_counted_for_each_job(tmp_path: Path) -> None:
    worker = Worker(str(tmp_path), lambda *_, **__: None, name="worker-0")  # type: ignore[arg-type, return-value]
    outcomes = [worker.run(job) for job in (WritingJob(), StubJob(), WritingJob())]
    assert [(outcome.failure, outcome.n_bytes) for outcome in outcomes] == [(None, 5), (None, 0), (None, 5)]


def test_the_cpu_time_of_a_job_is_what_it_computes_and_not_what_it_waits(tmp_path: Path) -> None:
    def compute() -> None:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    worker = Worker(str(tmp_path), lambda *_, **__: None, name="worker-0")  # type: ignore[arg-type, return-value]
    computed, waited = (worker.run(CountingJob(action)) for action in (compute, lambda: time.sleep(0.05)))
    assert computed.cpu_s is not None
    assert computed.cpu_s >= 0.02
    assert waited.cpu_s is not None
    assert waited.cpu_s < 0.04 < 0.05 <= waited.elapsed_s
