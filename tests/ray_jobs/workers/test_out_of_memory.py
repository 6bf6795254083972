"""Out-of-memory errors of every library are detected, and the last retry level gives advice."""

import errno
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlprune.errors import OutOfMemoryError, WorkerLostError
from mlprune.steps.job import AS_PLANNED, HALF_BATCHES, MIN_BATCH_TOKENS, OFFLOADED, ModelJob, ModelRef, batch_tokens_of
from ray_jobs.workers.out_of_memory import MEMORY_LEVELS, advice, is_out_of_memory
from tests.stub_jobs import StubJob


@dataclass(frozen=True)
class Batched(StubJob, ModelJob):
    """A job that runs the model on batches."""

    step: ClassVar[str] = "observe"

    @property
    def chain_model(self) -> ModelRef:
        raise NotImplementedError


@dataclass(frozen=True)
class Chained(StubJob):
    """A job that runs the model without a batch size."""

    step: ClassVar[str] = "observe"
    needs_chain: ClassVar[bool] = True


@dataclass(frozen=True)
class Plain(StubJob):
    """A job without the model."""

    step: ClassVar[str] = "prune"
    name: str


def numpy_error() -> Exception:
    with pytest.raises(MemoryError) as raised:
        np.empty(2**60, dtype=np.uint8)
    return raised.value


def torch_error() -> Exception:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        numpy_error(),
        torch_error(),
        torch.OutOfMemoryError("CUDA out of memory."),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OutOfMemoryError("a worker was killed for its memory"),
        RuntimeError("std::bad_alloc"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_out_of_memory_errors_of_libraries_are_detected(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a text that contains the words out of memory"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("shapes do not fit"),
        WorkerLostError("a worker died"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_not_out_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_batches_are_halved_then_the_model_is_offloaded_then_nothing_is_left() -> None:
    job = Batched(batch_tokens=128)
    half = job.with_less_memory()
    assert half == Batched(batch_tokens=64, memory_level=HALF_BATCHES)
    assert half.with_less_memory() == Batched(batch_tokens=64, memory_level=OFFLOADED)
    assert Batched(batch_tokens=64, memory_level=OFFLOADED).with_less_memory() is None


def test_a_job_with_the_smallest_batches_is_offloaded_at_once() -> None:
    assert Batched(batch_tokens=MIN_BATCH_TOKENS).with_less_memory() == Batched(
        batch_tokens=MIN_BATCH_TOKENS, memory_level=OFFLOADED
    )
    assert Batched(batch_tokens=MIN_BATCH_TOKENS + 8).with_less_memory() == Batched(
        batch_tokens=MIN_BATCH_TOKENS, memory_level=HALF_BATCHES
    )
    assert Chained().with_less_memory() == Chained(memory_level=OFFLOADED)
    assert Chained(memory_level=OFFLOADED).with_less_memory() is None


def test_a_job_without_the_model_cannot_use_less_memory() -> None:
    assert Plain("a").with_less_memory() is None
    assert batch_tokens_of(Plain("a")) is None


def test_the_advice_names_the_line_of_the_recipe() -> None:
    assert "compute: {batch_tokens: 32}; 64 did not fit" in advice(Batched(batch_tokens=64))
    assert "compute: {shards: 2}" in advice(Batched(batch_tokens=MIN_BATCH_TOKENS))
    assert "compute: {replicas: 1}" in advice(Plain("a"))


def test_every_level_has_a_name() -> None:
    assert set(MEMORY_LEVELS) == {AS_PLANNED, HALF_BATCHES, OFFLOADED}
