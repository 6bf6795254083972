"""Failures: what is retried, and whether the job, its memory or its worker is the cause."""

import pytest
import torch

from mlprune.errors import DamagedArtefactError, ModelError, OutOfMemoryError, WorkerLostError, work_context
from ray_jobs.workers.recovery.failures import MAX_TRACEBACK, MAX_WORK, Failure, describe_failure


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
