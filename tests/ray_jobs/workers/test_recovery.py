"""Out-of-memory errors of every library are detected, and the last retry level gives advice."""

import errno
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

from mlprune.errors import (
    BadInputError,
    DamagedArtefactError,
    ModelError,
    OutOfMemoryError,
    WorkerLostError,
    work_context,
)
from mlprune.processes.job_parts import JobParts
from mlprune.steps.job import HALF_MODEL, MIN_BATCH_TOKENS, ONE_BLOCK, ModelJob, ModelRef, batch_tokens_of
from ray_jobs.workers import recovery
from ray_jobs.workers.heartbeats import (
    SILENT_AFTER_S,
    SILENT_AFTER_VARIABLE,
    Beat,
    Heartbeats,
    Place,
    end_if_stopped,
    silent_after_s,
)
from ray_jobs.workers.recovery import (
    MAX_FAILURES,
    MAX_TRACEBACK,
    MAX_WORK,
    Failure,
    WorkerHealth,
    advice,
    describe_failure,
    first_line,
    is_accelerator_memory,
    is_device_error,
    is_out_of_memory,
    memory_level,
)
from tests.refusals import refused
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


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
        torch.AcceleratorError("CUDA error: all CUDA-capable devices are busy or unavailable"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("No CUDA GPUs are available"),
    ],
)
def test_errors_after_which_a_process_cannot_use_its_accelerator_are_device_errors(error: Exception) -> None:
    assert is_device_error(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Expected all tensors to be on the same device, but found cuda:0 and cpu"),
        ValueError("a text that contains CUDA error: x"),
    ],
)
def test_errors_of_memory_and_programs_are_not(error: Exception) -> None:
    assert not is_device_error(error)


def test_the_first_line_of_an_error_leaves_out_advice_for_developers() -> None:
    assert first_line(RuntimeError("CUDA error: x\nCompile with `TORCH_USE_CUDA_DSA`")) == "CUDA error: x"
    assert first_line(RuntimeError()) == "RuntimeError"


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


def raised(error: Exception, *, depth: int = 0) -> Exception:
    """The error after it was raised and caught, below some further calls."""

    def fall(n: int) -> None:
        if n > 0:
            fall(n - 1)
        with work_context(lambda: "facts fr test"):
            raise error

    try:
        fall(depth)
    except Exception as err:
        return err
    raise AssertionError


def test_a_failure_has_its_traceback_and_what_was_worked_on() -> None:
    failure = describe_failure(raised(AssertionError("within num_embeddings")))
    assert failure.work.startswith("facts fr test")
    assert "in fall" in failure.traceback
    assert "AssertionError: within num_embeddings" in failure.traceback
    assert describe_failure(WorkerLostError("died")).traceback == ""


def test_a_failure_of_any_depth_and_length_is_stored_in_bounded_length() -> None:
    failure = describe_failure(raised(ValueError("the cause"), depth=60))
    assert "the cause" in failure.traceback.splitlines()[-2]
    failures = [describe_failure(raised(ValueError("x" * 1_000_000))), failure]
    assert all(len(one.traceback) <= MAX_TRACEBACK + 100 for one in failures)
    assert all(len(one.work) <= MAX_WORK for one in failures)


def test_a_broken_device_is_one_line_and_the_fault_of_the_worker() -> None:
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with DSA")
    failure = describe_failure(error)
    assert (failure.error, failure.is_transient, failure.is_memory) == ("DeviceError", True, False)
    assert failure.worker_fault == "broken device"
    assert "illegal memory access" in failure.message
    assert "DSA" not in failure.message


@pytest.mark.parametrize(
    ("error", "is_replaceable", "fault"),
    [
        (RuntimeError("no such library"), True, "failed load"),
        (RuntimeError("no such library"), False, None),
        (WorkerLostError("a shard failed to start"), True, "failed load"),
        (torch.OutOfMemoryError("CUDA out of memory."), False, "busy device"),
        (MemoryError(), True, None),
        (ModelError("no such model"), True, None),
        (DamagedArtefactError("bad hash"), True, None),
    ],
)
def test_a_failed_load_is_the_fault_of_a_replaceable_worker_unless_every_worker_would_fail(
    error: Exception, is_replaceable: bool, fault: str | None
) -> None:
    failure = describe_failure(error, at_load=True, is_replaceable=is_replaceable)
    assert (failure.worker_fault, failure.at_load) == (fault, True)
    assert describe_failure(error).worker_fault is None


@pytest.mark.parametrize(("is_replaceable", "fault"), [(True, "lost process"), (False, None)])
def test_a_lost_process_is_the_fault_of_a_replaceable_worker(is_replaceable: bool, fault: str | None) -> None:
    failure = describe_failure(WorkerLostError("died"), is_replaceable=is_replaceable)
    assert (failure.worker_fault, failure.is_transient, failure.at_load) == (fault, True, False)


BUSY = Failure("DeviceError", "no room", True, False, worker_fault="busy device", at_load=True)
LOST = Failure("WorkerLostError", "died", True, False, worker_fault="lost process")
BROKEN = Failure("DeviceError", "illegal address", True, False, worker_fault="broken device")


class Clock:
    """A clock that tests set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(recovery, "time", made)
    return made


def test_a_worker_that_fails_too_often_in_a_row_is_retired_with_one_line(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    health = WorkerHealth(2)
    assert all(health.failed(1, BROKEN) for _ in range(MAX_FAILURES - 1))
    health.due()
    caplog.clear()
    assert not health.failed(1, BROKEN)
    (message,) = caplog.messages
    assert "worker-1" in message
    assert "illegal address" in message
    assert (health.due(), health.problem) == ([], None), "worker 0 is left"


def test_a_job_in_between_makes_a_worker_healthy(clock: Clock) -> None:
    health = WorkerHealth(1)
    for _ in range(3):
        assert all(health.failed(0, BROKEN) for _ in range(MAX_FAILURES - 1))
        health.succeeded(0)
    assert health.problem is None


def test_the_problem_of_a_pool_without_workers_names_the_last_failure(clock: Clock) -> None:
    health = WorkerHealth(2)
    assert not health.failed(0, BROKEN, is_final=True)
    assert health.problem is None
    assert not health.failed(1, BUSY, is_final=True)
    assert health.problem is not None
    assert "worker-1" in health.problem
    assert "no room" in health.problem


def test_a_pool_whose_healthy_workers_leave_has_a_problem(clock: Clock) -> None:
    health = WorkerHealth(1)
    health.add(1)
    assert not health.failed(0, BROKEN, is_final=True)
    assert health.problem is None
    health.remove(1)
    assert health.problem is not None
    assert "worker-0" in health.problem


LIMIT_S = 60.0
BEAT = Beat(Place("node", 7))


class Workers:
    """Pretended workers that answer unless they hang, and a pretended clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hanging: set[str] = set()
        self.dead: set[str] = set()
        self.beat = BEAT
        self._asked: dict[int, str] = {}
        self._numbers = count()
        self.heartbeats: Heartbeats[int] = Heartbeats(
            self._ask, self._read, silent_after_s=LIMIT_S, clock=lambda: self.now
        )

    def _ask(self, name: str) -> int:
        number = next(self._numbers)
        self._asked[number] = name
        return number

    def _read(self, replies: list[int]) -> dict[int, Beat | None]:
        arrived = [reply for reply in replies if self._asked[reply] not in self.hanging]
        return {reply: None if self._asked[reply] in self.dead else self.beat for reply in arrived}

    def found(self, seconds: float, *names: str) -> dict[str, float]:
        """Let time pass in steps of a second; return the silent workers -> when they were found first."""
        found: dict[str, float] = {}
        for _ in range(int(seconds)):
            self.now += 1
            for name in self.heartbeats.silent(names):
                found.setdefault(name, self.now)
        return found


def test_a_worker_that_answers_is_never_silent() -> None:
    assert Workers().found(10 * LIMIT_S, "a", "b") == {}


def test_a_worker_that_hangs_is_found_after_the_stated_time_and_the_others_are_not() -> None:
    workers = Workers()
    assert workers.found(100, "a", "b") == {}
    workers.hanging.add("a")
    found = workers.found(2 * LIMIT_S, "a", "b")
    assert found.keys() == {"a"}
    interval_s = workers.heartbeats.interval_s
    assert 100 + LIMIT_S - interval_s <= found["a"] <= 100 + LIMIT_S + 2 * interval_s


def test_beats_say_how_far_jobs_are_and_a_worker_that_hangs_is_found_all_the_same() -> None:
    workers = Workers()
    parts = JobParts("sweep", "block", 5, 18, 5 / 18)
    workers.beat = replace(BEAT, parts={("masks", "m"): parts})
    assert workers.found(10, "a") == {}
    shown = workers.heartbeats.parts["masks", "m"]
    assert (shown.describe(), shown.current_s <= 2 * workers.heartbeats.interval_s) == ("block 6 of 18", True)
    workers.hanging.add("a")
    found = workers.found(2 * LIMIT_S, "a")
    interval_s = workers.heartbeats.interval_s
    assert 10 + LIMIT_S - interval_s <= found["a"] <= 10 + LIMIT_S + 2 * interval_s
    workers.found(2 * interval_s, "b")
    assert workers.heartbeats.parts.keys() == {("masks", "m")}  # of the other worker


def test_workers_are_asked_often_enough_to_follow_their_jobs() -> None:
    assert Heartbeats(str, lambda _: {}, silent_after_s=600).interval_s <= 2
    assert Heartbeats(str, lambda _: {}, silent_after_s=0.6).interval_s == pytest.approx(0.1)


def test_a_worker_that_goes_on_in_time_is_not_silent() -> None:
    workers = Workers()
    workers.found(100, "a")
    for _ in range(5):
        workers.hanging.add("a")
        assert workers.found(LIMIT_S - 2 * workers.heartbeats.interval_s, "a") == {}
        workers.hanging.clear()
        assert workers.found(2 * workers.heartbeats.interval_s, "a") == {}


def test_a_worker_that_is_busy_is_examined_again_after_the_same_time() -> None:
    workers = Workers()
    workers.found(100, "a")
    workers.hanging.add("a")
    first = workers.found(2 * LIMIT_S, "a")["a"]
    again = workers.found(2 * LIMIT_S, "a")["a"]
    assert again - first >= LIMIT_S


def test_a_worker_that_never_answered_or_has_died_is_left_to_others() -> None:
    workers = Workers()
    workers.hanging.add("starting")
    workers.dead.add("dead")
    assert workers.found(5 * LIMIT_S, "starting", "dead") == {}


def test_a_worker_that_was_replaced_is_forgotten() -> None:
    workers = Workers()
    workers.found(100, "a")
    workers.hanging.add("a")
    workers.found(LIMIT_S / 2, "a")
    assert workers.found(3 * LIMIT_S, "b") == {}


@pytest.mark.parametrize(("text", "expected"), [("", SILENT_AFTER_S), ("2.5", 2.5)])
def test_the_time_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: float) -> None:
    monkeypatch.setenv(SILENT_AFTER_VARIABLE, text)
    assert silent_after_s() == expected


@pytest.mark.parametrize("text", ["0", "-1", "soon", "inf", "nan"])
def test_another_time_is_bad_input(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(SILENT_AFTER_VARIABLE, text)
    with refused(BadInputError, variable=SILENT_AFTER_VARIABLE, got=text):
        silent_after_s()


@pytest.fixture
def process() -> Iterator[psutil.Process]:
    """A process that computes without end."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as started:
        yield psutil.Process(started.pid)
        started.kill()


def test_a_busy_process_is_not_ended_and_a_stopped_one_is(process: psutil.Process) -> None:
    assert not end_if_stopped(process.pid, title=sys.executable)
    process.suspend()
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    assert not end_if_stopped(process.pid)
    assert process.status() == psutil.STATUS_STOPPED
    assert end_if_stopped(process.pid, title=sys.executable)
    assert process.wait(60) is not None


def test_a_process_that_is_gone_is_not_stopped() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert not end_if_stopped(ended.pid, title="")
