"""Failures of jobs as plain values: whether to retry, and whether the job, its memory or its worker is the cause."""

import traceback
from dataclasses import dataclass, field
from typing import Literal

from mlprune.errors import (
    BadInputError,
    DamagedArtefactError,
    DeviceError,
    MlpruneError,
    OutOfMemoryError,
    TransientError,
    WorkerLostError,
    reason_of,
    work_of,
)
from ray_jobs.workers.recovery.device_errors import first_line, is_device_error
from ray_jobs.workers.recovery.out_of_memory import is_accelerator_memory, is_out_of_memory

WorkerFault = Literal["broken device", "busy device", "failed load", "lost process"]
"""What is wrong with a worker: its accelerator stopped working in this process, has no room for the model, the model
cannot be loaded there for another reason, or a process of the worker died."""
MAX_TRACEBACK = 6_000
"""Most characters of a traceback that are kept: its end, which has the error and the lines that raised it."""
MAX_WORK = 600
"""Most characters of the description of what a job worked on."""
_LEFT_OUT = "... {n:,} characters left out ...\n"


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
        is_transient=fault is not None or isinstance(err, TransientError | ConnectionError),
        is_damage=isinstance(err, DamagedArtefactError),
        is_memory=isinstance(err, OutOfMemoryError),
        worker_fault=fault,
        at_load=at_load,
        work=shortened(work_of(raised), MAX_WORK),
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
    is_of_job = isinstance(err, BadInputError | DamagedArtefactError) or is_out_of_memory(err)
    if is_of_job or not is_replaceable:
        return None
    if at_load:
        return "failed load"
    return "lost process" if isinstance(err, WorkerLostError) else None


def _own_error(err: Exception, fault: WorkerFault | None) -> Exception:
    """Return the error of this project for errors of memory and devices in other libraries."""
    if fault == "broken device":
        return DeviceError("an accelerator stopped working", reason=first_line(err))
    if fault == "busy device":
        return DeviceError("an accelerator has no room for the model", reason=first_line(err))
    if is_out_of_memory(err) and not isinstance(err, OutOfMemoryError):
        return OutOfMemoryError("out of memory", reason=_format_error(err))
    return err


def _format_error(err: Exception) -> str:
    return str(err) if isinstance(err, MlpruneError) else reason_of(err)
