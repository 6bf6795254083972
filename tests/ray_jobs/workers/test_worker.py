"""Workers: the failures they report and the model they load for a job."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from mlprune.errors import DamagedArtefactError, OutOfMemoryError, WorkerLostError
from mlprune.steps.job import OFFLOADED, ChainLoader, ModelRef, RecordKey
from mlprune.store.store import Store
from ray_jobs.workers.worker import Failure, Worker, describe_failure
from tests.stub_jobs import StubJob


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
    def loader(name: str) -> Callable[[Any], Any]:
        return lambda _: (loaded.append(name), SimpleNamespace(spans=name))[1]

    loaders = {"load_chain": loader("whole"), "load_offloaded": loader("offloaded")}
    return Worker(str(tmp_path), **loaders, name="worker-0")


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
    for memory_level in (0, OFFLOADED, OFFLOADED, 0):
        assert worker.run(ActionJob(seen.append, memory_level=memory_level)).failure is None
    assert seen == ["whole", "offloaded", "offloaded", "whole"]
    assert loaded == ["whole", "offloaded", "whole"]


def test_a_job_with_another_model_gets_its_chain_and_one_chain_is_loaded_at_a_time(tmp_path: Path) -> None:
    asked: list[ModelRef | None] = []

    def load(model: ModelRef | None) -> Any:
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


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("reset"), Failure("ConnectionError", "ConnectionError: reset", True, False, False)),
        (DamagedArtefactError("bad"), Failure("DamagedArtefactError", "bad", False, True, False)),
        (OutOfMemoryError("killed"), Failure("OutOfMemoryError", "killed", True, False, True)),
        (
            torch.OutOfMemoryError("CUDA"),
            Failure("OutOfMemoryError", "out of memory [reason='OutOfMemoryError: CUDA']", True, False, True),
        ),
        (
            MemoryError("16 GiB"),
            Failure("OutOfMemoryError", "out of memory [reason='MemoryError: 16 GiB']", True, False, True),
        ),
    ],
)
def test_errors_are_classified_as_transient_damage_or_out_of_memory(error: Exception, expected: Failure) -> None:
    assert describe_failure(error) == expected


def test_a_wrapped_error_of_another_process_is_classified_as_the_original() -> None:
    class Wrapped(RuntimeError):
        cause = DamagedArtefactError("bad hash")

    assert describe_failure(Wrapped("a long trace")) == describe_failure(DamagedArtefactError("bad hash"))
