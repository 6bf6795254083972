"""Tokens are counted where they enter the model; the peak memory of a process can be reset."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from mlprune.errors import WorkerLostError
from mlprune.models.chain import Chain
from mlprune.models.inference.observation import StatisticsVisitor
from mlprune.models.local_chain import local_chain
from mlprune.models.messages import Continuations, DecodeStep, ScoringBatch, TokenBatch
from mlprune.models.shard import Shard
from mlprune.processes.job_parts import RunningParts, in_parts, note_found_part
from mlprune.processes.parallel import n_threads, set_worker_threads
from mlprune.steps.job import HALF_MODEL, ChainLoader, ModelRef, RecordKey, make_identity
from mlprune.store.store import Store
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import CountingChain, PeakMemory, Worker, drop_states, peak_bytes
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model

ONES = torch.ones(2, 5, dtype=torch.bool)
BATCH = TokenBatch(torch.zeros(2, 5, dtype=torch.int64), ONES, ONES)


class Recording:
    """A chain that records its calls."""

    n_blocks = 3
    spans = (range(3),)

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def stream(self, operation: Any, items: Iterable[Any]) -> Iterator[Any]:
        self.calls.append(operation)
        return iter(items)

    def on_block(self, block: int, method: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((block, method, args, kwargs))
        return "block"

    def everywhere(self, method: Any, *args: Any, **kwargs: Any) -> list[Any]:
        self.calls.append((method, args, kwargs))
        return ["all"]


def test_all_tokens_that_enter_a_model_are_counted_padding_included() -> None:
    ids = torch.zeros(4, 7, dtype=torch.int64)
    after = Continuations(ids, ids == 0, torch.zeros(4, dtype=torch.int64))
    scored = ScoringBatch(ids[:2, :3], ids[:2, :3] == 0, (after, after), torch.tensor([0]), torch.tensor([0]))
    decoded = DecodeStep("key", torch.zeros(3, 1, dtype=torch.int64), torch.ones(3, 9, dtype=torch.bool))
    chain = CountingChain(Recording())
    for item, n_tokens in ((BATCH, 10), (scored, 6 + 2 * 28), (decoded, 3)):
        chain.n_tokens = 0
        list(chain.stream(StatisticsVisitor, [item]))  # type: ignore[arg-type, list-item]
        assert chain.n_tokens == n_tokens


def test_a_counting_chain_forwards_to_its_chain() -> None:
    inner = Recording()
    chain: Chain = (counting := CountingChain(inner))
    assert (chain.n_blocks, chain.spans) == (3, (range(3),))
    assert list(chain.stream(StatisticsVisitor, [BATCH, BATCH])) == [BATCH, BATCH]
    assert chain.on_block(0, Shard.sweep_start, ("", 0), BATCH) == "block"
    assert chain.on_block(1, Shard.sweep_observe, 1, ["key"], with_products=True) == "block"
    assert chain.everywhere(Shard.end_session, "key") == ["all"]
    assert inner.calls[0] is StatisticsVisitor
    assert inner.calls[-2:] == [
        (1, Shard.sweep_observe, (1, ["key"]), {"with_products": True}),
        (Shard.end_session, ("key",), {}),
    ]
    assert counting.n_tokens == 30


def test_batches_are_drawn_only_when_needed() -> None:
    chain = CountingChain(Recording())
    stream = chain.stream(StatisticsVisitor, iter([BATCH, BATCH]))
    assert chain.n_tokens == 0
    next(stream)
    assert chain.n_tokens == 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak of a process")
def test_memory_freed_before_the_measurement_is_not_in_the_peak() -> None:
    before = torch.ones(64 * 2**20)
    peak_before = peak_bytes()
    del before
    peak = PeakMemory()
    if not peak.is_of_job:
        pytest.skip("this system forbids resetting it")
    assert peak.gib() * 2**30 < peak_before - 100 * 2**20
    again = torch.ones(32 * 2**20)
    grown = peak.gib()
    del again
    assert peak.gib() == pytest.approx(grown, rel=0.02)
    assert grown > 100 / 1024


def test_a_peak_that_cannot_be_reset_is_that_of_the_process(tmp_path: Path) -> None:
    peak = PeakMemory(clear_refs=tmp_path / "nowhere" / "clear_refs")
    assert not peak.is_of_job
    assert peak.gib() == pytest.approx(peak_bytes() / 2**30, rel=0.05)
    blind = PeakMemory(clear_refs=tmp_path / "clear_refs", status=tmp_path / "status")
    assert not blind.is_of_job


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


@dataclass(frozen=True)
class PartsJob(StubJob):
    """Counts four blocks, of which the first exists, and notes after each what another thread sees of the worker."""

    see: Callable[[], RunningParts]
    seen: list[RunningParts]

    def run(self, store: Store, chain: ChainLoader) -> None:
        with ThreadPoolExecutor(1) as threads:
            self.seen.append(threads.submit(self.see).result())
            for block in in_parts("block", range(4)):
                if block == 0:
                    note_found_part()
                self.seen.append(threads.submit(self.see).result())
                time.sleep(0.002)
        raise ValueError("broken")


def test_another_thread_reads_how_far_the_running_job_is_and_nothing_between_jobs(tmp_path: Path) -> None:
    worker = Worker(str(tmp_path), lambda _, *, offload_level: None, name="worker-0")  # type: ignore[arg-type, return-value]
    job = PartsJob(lambda: worker.running_parts, [])
    assert worker.running_parts == {}
    worker.run(job)
    assert worker.running_parts == {}
    before, *during = job.seen
    assert before == {}
    shown = [parts[job.makes[-1]] for parts in during]
    assert [(parts.step, parts.describe()) for parts in shown] == [("prune", f"block {n} of 4") for n in range(1, 5)]
    assert [parts.found for parts in shown] == [0, 0.25, 0.25, 0.25]
    assert [parts.whole_s is None for parts in shown] == [True, True, False, False]


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
