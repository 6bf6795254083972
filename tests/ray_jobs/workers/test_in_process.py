"""The pool of one worker in the driver's process."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mlprune.steps.job import ChainLoader, ModelRef
from mlprune.store.store import Store
from ray_jobs.workers import in_process
from ray_jobs.workers.in_process import InProcessWorkers
from ray_jobs.workers.recovery.worker_health import FIRST_PAUSE_S
from tests.ray_jobs.workers.pools import MODEL, ONE_SHARD
from tests.stub_jobs import StubJob
from tests.tiny_models import save_tiny_model


@dataclass(frozen=True)
class LoadingJob(StubJob):
    """A job that loads its model."""

    model: ModelRef

    @property
    def chain_model(self) -> ModelRef:
        return self.model

    def run(self, store: Store, chain: ChainLoader) -> None:
        assert chain().n_blocks == self.model.n_blocks


def test_a_job_has_run_when_it_is_submitted_and_frees_the_worker_when_it_is_collected(tmp_path: Path) -> None:
    workers = InProcessWorkers(str(tmp_path), MODEL, ONE_SHARD)
    assert workers.free() == 1
    workers.submit(StubJob())
    assert workers.free() == 0
    ((job, outcome),) = workers.wait(timeout_s=0.0)
    assert (job, outcome.makes, outcome.failure) == (StubJob(), ("variants", "stub"), None)
    assert workers.free() == 1
    assert workers.wait() == []
    workers.close()


def failing_loads(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Let the first loads fail with these errors and the next ones succeed."""
    remaining = iter(errors)

    def load(*_: object, **__: object) -> object:
        for error in remaining:
            raise error
        return SimpleNamespace(n_blocks=MODEL.n_blocks)

    monkeypatch.setattr(in_process, "load_model", load)


def test_a_broken_device_ends_the_pool_and_its_job_stays_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_loads(monkeypatch, torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    workers = InProcessWorkers(str(tmp_path), MODEL, ONE_SHARD)
    workers.submit(LoadingJob(MODEL))
    ((_, outcome),) = workers.wait()
    assert outcome.failure is not None
    assert outcome.failure.is_transient
    assert workers.free() == 0
    assert "illegal memory access" in str(workers.problem)


def test_a_busy_device_is_tried_again_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(in_process, "time", SimpleNamespace(sleep=pauses.append))
    failing_loads(monkeypatch, torch.OutOfMemoryError("CUDA out of memory."))
    workers = InProcessWorkers(str(tmp_path), MODEL, ONE_SHARD)
    failures = []
    for _ in range(2):
        assert workers.free() == 1
        workers.submit(LoadingJob(MODEL))
        failures.append(workers.wait()[0][1].failure)
    assert [failure and failure.worker_fault for failure in failures] == ["busy device", None]
    assert len(pauses) == 1
    assert 0 < pauses[0] <= FIRST_PAUSE_S
    assert workers.problem is None


def test_models_are_loaded_in_this_process_and_errors_become_failures(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model", "gpt2", seed=4)
    model = replace(MODEL, path=str(folder), family="gpt2", n_blocks=3)
    workers = InProcessWorkers(str(tmp_path / "store"), model, ONE_SHARD)
    workers.submit(LoadingJob(model))
    assert workers.wait()[0][1].failure is None
    workers.submit(LoadingJob(replace(model, path=str(tmp_path / "nowhere"))))
    failure = workers.wait()[0][1].failure
    assert failure is not None
    assert failure.error == "ModelError"
