"""Out-of-memory errors of every library are detected, and the last retry level gives advice."""

import errno
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlprune.errors import OutOfMemoryError, WorkerLostError
from mlprune.steps.job import HALF_MODEL, MIN_BATCH_TOKENS, ONE_BLOCK, ModelJob, ModelRef, batch_tokens_of
from ray_jobs.workers.recovery.out_of_memory import advice, is_accelerator_memory, is_out_of_memory, memory_level
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


ACCELERATOR_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


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
        *ACCELERATOR_ERRORS,
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


def test_only_errors_of_accelerators_mean_that_their_memory_ran_out() -> None:
    assert all(is_accelerator_memory(error) for error in ACCELERATOR_ERRORS)
    others = (MemoryError(), torch_error(), OutOfMemoryError("killed"), torch.AcceleratorError("CUDA error: unknown"))
    assert not any(is_accelerator_memory(error) for error in others)


def test_a_job_without_batches_is_offloaded_twice_and_then_nothing_is_left() -> None:
    half = Chained().with_less_memory()
    assert half == Chained(offload_level=HALF_MODEL)
    assert half.with_less_memory() == Chained(offload_level=ONE_BLOCK)
    assert Chained(offload_level=ONE_BLOCK).with_less_memory() is None
    assert Batched(batch_tokens=MIN_BATCH_TOKENS).with_less_memory() == Batched(
        batch_tokens=MIN_BATCH_TOKENS, offload_level=HALF_MODEL
    )


def test_a_job_without_the_model_cannot_use_less_memory() -> None:
    assert Plain("a").with_less_memory() is None
    assert batch_tokens_of(Plain("a")) is None


def test_the_advice_names_the_line_of_the_recipe() -> None:
    assert "compute: {shards: 2}" in advice(Batched(batch_tokens=MIN_BATCH_TOKENS))
    assert "batches of 16 tokens" in advice(Batched(batch_tokens=MIN_BATCH_TOKENS))
    assert "compute: {shards: 2}" in advice(Chained())
    assert "compute: {replicas: 1}" in advice(Plain("a"))


def test_every_measure_has_a_name_of_its_own() -> None:
    jobs = [Batched(batch_tokens=64, n_halvings=n) for n in range(4)]
    jobs += [Batched(batch_tokens=64, n_halvings=3, offload_level=level) for level in (HALF_MODEL, ONE_BLOCK)]
    names = ["as planned", "half batches", "1/4 batches", "1/8 batches", "offloaded", "offloaded, one block at a time"]
    assert [memory_level(job) for job in jobs] == names
