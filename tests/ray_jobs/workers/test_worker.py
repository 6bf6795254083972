"""A worker: what it says of errors, and which chain a job is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from mlprune.errors import DamagedArtefactError, OutOfMemoryError, WorkerLostError
from mlprune.steps.job import OFFLOADED, ChainLoader, Job, ModelRef, RecordKey
from mlprune.store.store import Store
from ray_jobs.workers.worker import Failure, Worker, described


@dataclass(frozen=True)
class Doing(Job):
    """A job that does what a test wants with the chain."""

    step: ClassVar[str] = "observe"
    needs_chain: ClassVar[bool] = True
    action: Callable[[Any], None]

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("statistics", "a"),)

    def run(self, store: Store, chain: ChainLoader) -> None:
        self.action(chain().spans)  # here: which chain it is


@dataclass(frozen=True)
class Running(Doing):
    """One that says which model it runs."""

    model: ModelRef

    @property
    def chain_model(self) -> ModelRef:
        return self.model


@pytest.fixture
def loaded() -> list[str]:
    """Which chains were loaded."""
    return []


@pytest.fixture
def worker(tmp_path: Path, loaded: list[str]) -> Worker:
    def loader(name: str) -> Callable[[Any], Any]:
        return lambda _: (loaded.append(name), SimpleNamespace(spans=name))[1]

    loaders = {"load_chain": loader("whole"), "load_offloaded": loader("offloaded")}
    return Worker(str(tmp_path), **loaders, name="worker-0")


def test_a_chain_is_loaded_once_and_anew_after_a_failure_that_may_pass(worker: Worker, loaded: list[str]) -> None:
    def fail(chain: Any) -> None:
        raise WorkerLostError("a shard died")

    seen: list[Any] = []
    assert loaded == []
    for action in (seen.append, seen.append, fail, seen.append):
        worker.run(Doing(action))
    assert loaded == ["whole", "whole"]
    assert seen == ["whole"] * 3


def test_a_job_at_the_last_level_is_given_an_offloaded_chain_and_the_next_one_is_not(
    worker: Worker, loaded: list[str]
) -> None:
    seen: list[Any] = []
    for relief in (0, OFFLOADED, OFFLOADED, 0):
        assert worker.run(Doing(seen.append, relief=relief)).failure is None
    assert seen == ["whole", "offloaded", "offloaded", "whole"]
    assert loaded == ["whole", "offloaded", "whole"]


def test_a_job_that_runs_another_model_is_given_that_ones_chain_and_one_is_held_at_a_time(tmp_path: Path) -> None:
    asked: list[ModelRef | None] = []

    def load(model: ModelRef | None) -> Any:
        asked.append(model)
        return SimpleNamespace(spans=model)

    seen: list[Any] = []
    worker = Worker(str(tmp_path), load, name="worker-0")
    big, small = (ModelRef(name, name, "xglm", 3, None, "float32") for name in ("big", "small"))
    for model in (big, big, small, small, big):
        assert worker.run(Running(seen.append, model)).failure is None
    assert seen == [big, big, small, small, big]
    assert asked == [big, small, big]


def test_an_error_of_a_job_becomes_its_failure(worker: Worker) -> None:
    def fail(chain: Any) -> None:
        raise ValueError("two\nlines")

    assert worker.run(Doing(fail)).failure == Failure("ValueError", "ValueError: two lines", False, False, False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("reset"), Failure("ConnectionError", "ConnectionError: reset", True, False, False)),
        (DamagedArtefactError("bad"), Failure("DamagedArtefactError", "bad", False, True, False)),
        (OutOfMemoryError("killed"), Failure("OutOfMemoryError", "killed", True, False, True)),
        (
            torch.OutOfMemoryError("CUDA"),
            Failure("OutOfMemoryError", "memory was short [reason='OutOfMemoryError: CUDA']", True, False, True),
        ),
        (
            MemoryError("16 GiB"),
            Failure("OutOfMemoryError", "memory was short [reason='MemoryError: 16 GiB']", True, False, True),
        ),
    ],
)
def test_what_an_error_means_for_the_run(error: Exception, expected: Failure) -> None:
    assert described(error) == expected


def test_an_error_that_another_process_passed_on_is_what_it_was_there() -> None:
    class Wrapped(RuntimeError):
        cause = DamagedArtefactError("bad hash")

    assert described(Wrapped("a long trace")) == described(DamagedArtefactError("bad hash"))
