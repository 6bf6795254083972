"""Want of memory is recognised in every disguise, and the ladder ends with what to change."""

import errno
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlprune.errors import OutOfMemoryError, WorkerLostError
from mlprune.steps.job import AS_PLANNED, HALF_BATCHES, MIN_BATCH_TOKENS, OFFLOADED, Job, batch_tokens_of
from ray_jobs.workers.out_of_memory import IN_WORDS, advice, is_short_of_memory


@dataclass(frozen=True)
class Batched(Job):
    """A job that runs the model on batches."""

    step: ClassVar[str] = "observe"
    needs_chain: ClassVar[bool] = True
    batch_tokens: int


@dataclass(frozen=True)
class Chained(Job):
    """A job that runs the model in its own portions."""

    step: ClassVar[str] = "observe"
    needs_chain: ClassVar[bool] = True


@dataclass(frozen=True)
class Plain(Job):
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
def test_an_error_that_means_want_of_memory_is_recognised(error: Exception) -> None:
    assert is_short_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory, as the corpus says"),
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("shapes do not fit"),
        WorkerLostError("a worker died"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_short_of_memory(error)


def test_a_job_with_batches_has_them_halved_then_its_model_offloaded_and_then_no_more() -> None:
    job = Batched(128)
    half = job.relieved()
    assert half == Batched(64, relief=HALF_BATCHES)
    assert half.relieved() == Batched(64, relief=OFFLOADED)
    assert Batched(64, relief=OFFLOADED).relieved() is None


def test_a_job_whose_batches_cannot_be_smaller_goes_straight_to_offloading() -> None:
    assert Batched(MIN_BATCH_TOKENS).relieved() == Batched(MIN_BATCH_TOKENS, relief=OFFLOADED)
    assert Batched(MIN_BATCH_TOKENS + 8).relieved() == Batched(MIN_BATCH_TOKENS, relief=HALF_BATCHES)
    assert Chained().relieved() == Chained(relief=OFFLOADED)
    assert Chained(relief=OFFLOADED).relieved() is None


def test_a_job_without_the_model_has_no_relief() -> None:
    assert Plain("a").relieved() is None
    assert batch_tokens_of(Plain("a")) is None


def test_the_advice_names_the_line_of_the_recipe() -> None:
    assert "compute: {batch_tokens: 32}; 64 did not fit" in advice(Batched(64))
    assert "compute: {shards: 2}" in advice(Batched(MIN_BATCH_TOKENS))
    assert "compute: {replicas: 1}" in advice(Plain("a"))


def test_every_level_has_a_name() -> None:
    assert set(IN_WORDS) == {AS_PLANNED, HALF_BATCHES, OFFLOADED}
