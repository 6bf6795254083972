"""Failures of jobs and workers: out of memory, device errors, retries, and health of workers.

Out-of-memory handling: detect it in any library, name the measures of a retry, advise once retries are exhausted.

`Job.with_less_memory` defines the measures: the batch size is halved down to a minimum, then the model is offloaded.

Device errors: recognise an accelerator that no longer works in this process.

After such an error, CUDA fails every further call in the process. Only a new process can use the device again.

Health of workers: count failures of a worker in a row, space its restarts, and retire it after too many.

A failure of a worker is one that may not be the fault of its job: a process of it died, its device stopped working, or
it could not load the model, for example because another user's process fills the accelerator.
"""

import errno
import logging
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import torch

from mlprune import errors
from mlprune.steps.job import HALF_MODEL, ONE_BLOCK, Job, batch_tokens_of

logger = logging.getLogger(__name__)
OFFLOAD_NAMES = {HALF_MODEL: "offloaded", ONE_BLOCK: "offloaded, one block at a time"}
"""`Job.offload_level` -> its name in run files and logs."""
ALLOCATOR_MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "out of memory",
    "bad_alloc",
    "status_alloc_failed",  # cuBLAS, cuSOLVER and cuDNN, when torch's allocator holds the memory of the accelerator
    "cublas_status_not_initialized",
)
"""Messages of native allocators inside errors of general types; lower case."""
ACCELERATOR_NAMES = ("cuda", "cublas", "cusolver", "cudnn", "hip ")
"""Libraries of accelerators in messages of allocators; lower case."""
LIBRARY_ERRORS = ("SafetensorError", "OutOfMemoryException")
"""Error types of safetensors and DuckDB that may report failed allocations and have no more specific base class."""
DEVICE_MESSAGES = (
    "cuda error",
    "cudnn error",
    "cublas_status_",
    "cusolver error",
    "cusolver_status_",
    "cufft error",
    "hip error",
    "nccl error",
    "no cuda gpus are available",
    "found no nvidia driver",
    "cuda driver initialization failed",
    "cuda unknown error",
)
"""Messages of accelerators inside errors of general types; lower case."""
WorkerFault = Literal["broken device", "busy device", "failed load", "lost process"]
"""What is wrong with a worker: its accelerator stopped working in this process, has no room for the model, the model
cannot be loaded there for another reason, or a process of the worker died."""
MAX_TRACEBACK = 6_000
"""Most characters of a traceback that are kept: its end, which has the error and the lines that raised it."""
MAX_WORK = 600
"""Most characters of the description of what a job worked on."""
_LEFT_OUT = "... {n:,} characters left out ...\n"
MAX_FAILURES = 6
"""Failures in a row after which a worker is retired; more than the attempts of a job that breaks its device."""
FIRST_PAUSE_S = 10.0
"""Time until a worker that failed to load is started again; each further failure doubles it. Other failures pause a
worker from the second in a row on, so that other workers take its jobs.
"""


def is_out_of_memory(err: BaseException) -> bool:
    """Return whether an error means that memory ran out.

    `torch.OutOfMemoryError` of an accelerator and torch's CPU allocator raise subclasses of RuntimeError, the operating
    system an OSError, Python, NumPy and Arrow subclasses of MemoryError.
    """
    if isinstance(err, errors.OutOfMemoryError | MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(err, OSError) and err.errno is not None:
        return err.errno == errno.ENOMEM
    is_general = isinstance(err, RuntimeError | OSError) or type(err).__name__ in LIBRARY_ERRORS
    return is_general and any(message in str(err).lower() for message in ALLOCATOR_MESSAGES)


def is_accelerator_memory(err: BaseException) -> bool:
    """Return whether an error means that the memory of an accelerator ran out."""
    if isinstance(err, torch.OutOfMemoryError):
        return True
    return is_out_of_memory(err) and any(name in str(err).lower() for name in ACCELERATOR_NAMES)


def memory_level(job: Job) -> str:
    """Name what a job does to save memory: `as planned`, `half batches`, `1/4 batches` and so on, or `offloaded`."""
    if job.offload_level:
        return OFFLOAD_NAMES[job.offload_level]
    if job.n_halvings > 1:
        return f"1/{2**job.n_halvings} batches"
    return "half batches" if job.n_halvings else "as planned"


def advice(job: Job) -> str:
    """Advise what to change in the recipe when a job runs out of memory with everything tried."""
    if not job.needs_chain:
        return "in the recipe, use fewer replicas: compute: {replicas: 1}"
    n_tokens = batch_tokens_of(job)
    tried = "" if n_tokens is None else f" (batches of {n_tokens} tokens did not fit)"
    return f"in the recipe, use more shards (compute: {{shards: 2}}) or fewer replicas{tried}"


def is_device_error(err: BaseException) -> bool:
    """Return whether an error means that an accelerator failed, for another reason than its memory.

    torch raises `torch.AcceleratorError` for errors of kernels (an illegal address, an ECC error, a failed assertion)
    and plain RuntimeErrors for those of libraries.
    """
    if is_out_of_memory(err):
        return False
    if isinstance(err, torch.AcceleratorError):
        return True
    return isinstance(err, RuntimeError) and any(message in str(err).lower() for message in DEVICE_MESSAGES)


def first_line(err: BaseException) -> str:
    """Return the first line of an error's message; CUDA adds lines of advice for developers."""
    return next(iter(str(err).splitlines()), "") or type(err).__name__


@dataclass(frozen=True)
class Failure:
    """Why a job failed."""

    error: str
    """Name of the exception's type."""
    message: str
    is_transient: bool
    is_damage: bool
    """Whether an artefact of an earlier job is missing or damaged."""
    is_memory: bool = False
    """Whether memory ran out: the job may succeed with less at a time."""
    worker_fault: WorkerFault | None = None
    """Why the worker has to be replaced before it runs another job; None if it can go on."""
    at_load: bool = False
    """Whether the model could not be loaded, so that the job itself was not tried."""
    keeps_model: bool = False
    """Whether the worker still has the loaded model, with all of its shards, after this transient failure."""
    work: str = field(default="", compare=False)
    """What the job worked on, such as the task, language and split of an evaluation."""
    traceback: str = field(default="", compare=False)
    """End of the traceback, in the process that raised the error; empty if the process died."""

    @property
    def unloads_model(self) -> bool:
        """Whether the worker has to load the model again, because a shard may be lost or memory may be used."""
        return self.is_transient and not self.keeps_model


def describe_failure(err: Exception, *, at_load: bool = False, is_replaceable: bool = False) -> Failure:
    """Convert an exception to plain values; one that wraps the error of another process becomes that error.

    Args:
        at_load: whether the worker raised it when it started or loaded a model.
        is_replaceable: whether a new process can take the place of a worker that cannot go on.
    """
    cause = getattr(err, "cause", None)
    if isinstance(cause, Exception):
        return describe_failure(cause, at_load=at_load, is_replaceable=is_replaceable)
    fault = _fault_of(err, at_load=at_load, is_replaceable=is_replaceable)
    raised, err = err, _own_error(err, fault)
    return Failure(
        type(err).__name__,
        _format_error(err),
        is_transient=fault is not None or isinstance(err, errors.TransientError | ConnectionError),
        is_damage=isinstance(err, errors.DamagedArtefactError),
        is_memory=isinstance(err, errors.OutOfMemoryError),
        worker_fault=fault,
        at_load=at_load,
        work=shortened(errors.work_of(raised), MAX_WORK),
        traceback=_traceback_of(raised),
    )


def shortened(text: str, n: int) -> str:
    """Return a text of at most `n` characters, with an ellipsis in place of its end."""
    return text if len(text) <= n else f"{text[: n - 1]}…"


def _traceback_of(err: BaseException) -> str:
    """Return the traceback of an error and its causes; of a long one the end, from the start of a line."""
    if err.__traceback__ is None:
        return ""
    lines = "".join(traceback.format_exception(err)).splitlines(keepends=True)
    text = "".join(line for line in lines if line.strip(" ^~\n"))  # without the lines that only underline code
    start = len(text) - MAX_TRACEBACK
    if start <= 0:
        return text
    line_start = text.find("\n", start) + 1 or start
    return _LEFT_OUT.format(n=line_start) + text[line_start:]


def _fault_of(err: Exception, *, at_load: bool, is_replaceable: bool) -> WorkerFault | None:
    """Return what is wrong with the worker. Bad input, damage or too little main memory is not its fault."""
    if is_device_error(err):
        return "broken device"
    if at_load and is_accelerator_memory(err):
        return "busy device"
    is_of_job = isinstance(err, errors.BadInputError | errors.DamagedArtefactError) or is_out_of_memory(err)
    if is_of_job or not is_replaceable:
        return None
    if at_load:
        return "failed load"
    return "lost process" if isinstance(err, errors.WorkerLostError) else None


def _own_error(err: Exception, fault: WorkerFault | None) -> Exception:
    """Return the error of this project for errors of memory and devices in other libraries."""
    if fault == "broken device":
        return errors.DeviceError("an accelerator stopped working", reason=first_line(err))
    if fault == "busy device":
        return errors.DeviceError("an accelerator has no room for the model", reason=first_line(err))
    if is_out_of_memory(err) and not isinstance(err, errors.OutOfMemoryError):
        return errors.OutOfMemoryError("out of memory", reason=_format_error(err))
    return err


def _format_error(err: Exception) -> str:
    return str(err) if isinstance(err, errors.MlpruneError) else errors.reason_of(err)


class WorkerHealth:
    """Failures of the workers of a pool."""

    def __init__(self, n_workers: int) -> None:
        self._n_failures: Counter[int] = Counter()
        self._restart_at: dict[int, float] = {}
        self._active = set(range(n_workers))
        self._last_failure = "all of them were on nodes that left"
        self.problem: str | None = None
        """Why no worker is left; None while one is."""

    def add(self, number: int) -> None:
        """Note that the pool has a further worker."""
        self._active.add(number)

    def remove(self, number: int) -> None:
        """Note that the pool does not have a worker any more."""
        self._active.discard(number)
        self._restart_at.pop(number, None)
        self._n_failures.pop(number, None)
        self._end_if_none_is_left()

    def succeeded(self, number: int) -> None:
        """Note that a worker has run a job; whether the job itself succeeded does not matter."""
        del self._n_failures[number]

    def failed(self, number: int, failure: Failure, *, is_final: bool = False) -> bool:
        """Note that a worker has failed. Returns whether it is to be started again, as soon as `due` returns it.

        The last worker does not retire because its process dies: without others, its jobs may be the cause, and each of
        them fails after some attempts.

        Args:
            is_final: the worker cannot be started again.
        """
        self._n_failures[number] += 1
        n_failures = self._n_failures[number]
        has_others = len(self._active) > 1
        may_be_job = failure.worker_fault == "lost process" and not failure.at_load and not has_others
        if is_final or (n_failures >= MAX_FAILURES and not may_be_job):
            self._retire(number, failure)
            return False
        n_doublings = n_failures - 1 if failure.at_load else n_failures - 2
        pause_s = FIRST_PAUSE_S * 2**n_doublings if failure.at_load or (has_others and n_doublings >= 0) else 0.0
        self._restart_at[number] = time.monotonic() + pause_s
        again = f"in {pause_s:.0f} s" if pause_s else "now"
        logger.warning("worker-%d failed and starts again %s: %s", number, again, failure.message)
        return True

    def _retire(self, number: int, failure: Failure) -> None:
        n_failures = self._n_failures[number]
        times = "once" if n_failures == 1 else f"{n_failures} times in a row"
        self._active.discard(number)
        self._last_failure = f"worker-{number} failed {times}: {failure.message}"
        self._end_if_none_is_left()
        if self.problem is None:
            logger.warning("worker-%d failed %s; the others continue without it: %s", number, times, failure.message)

    def _end_if_none_is_left(self) -> None:
        if not self._active:
            self.problem = f"no worker is left: {self._last_failure}"

    def due(self) -> list[int]:
        """Return the failed workers whose pause is over; each is returned once."""
        now = time.monotonic()
        due = [number for number, at in self._restart_at.items() if at <= now]
        for number in due:
            del self._restart_at[number]
        return due

    def seconds_to_next(self) -> float | None:
        """Return the time until the next pause is over; None if no worker pauses."""
        times = self._restart_at.values()
        return max(0.0, min(times) - time.monotonic()) if times else None
