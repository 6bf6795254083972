"""Failures of Ray processes: distinguish processes killed for their memory from those that died for another reason.

A job whose process was killed for its memory is retried with less memory. Any other job is retried unchanged, so that
it keeps its batch size and therefore its bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError as RayOutOfMemoryError
from ray.exceptions import RayActorError, RayError, RayTaskError

from mlprune.errors import MlpruneError, OutOfMemoryError, WorkerLostError
from ray_jobs.workers.recovery import is_out_of_memory

VMSTAT = Path("/proc/vmstat")


class FailureClassifier:
    """Converts Ray's errors to errors of this project.

    Ray reports when its own monitor kills a process for its memory, on any node. The kernel does not, so we check
    whether it has killed any process on this machine since the last failure. On other nodes such a kill counts as an
    ordinary death.

    Args:
        vmstat: file with the kernel's counters.
    """

    def __init__(self, vmstat: Path = VMSTAT) -> None:
        self._vmstat = vmstat
        self._n_kills = count_kernel_kills(vmstat)

    def get(self, references: Any, *, who: str, **context: object) -> Any:
        """Get the values of Ray object references.

        Args:
            who: the process that computes them, for the error message.
            context: more context for the error message.

        Raises:
            OutOfMemoryError: the process was killed for its memory.
            WorkerLostError: the process died for another reason, or its result is lost.
        """
        try:
            return ray.get(references)
        except RayError as err:
            raise self.classify(err, who=who, **context) from err

    def classify(self, err: RayError, *, who: str, **context: object) -> Exception:
        """Return the error that a job fails with. An error that was raised inside the process is returned itself."""
        cause = err.cause if isinstance(err, RayTaskError) else err
        if not isinstance(cause, RayError):
            return cause if isinstance(cause, Exception) else err
        if isinstance(cause, RayActorError) and cause.actor_init_failed:
            return _error_at_start(cause, who, context)
        n_kills, n_kills_before = count_kernel_kills(self._vmstat), self._n_kills
        self._n_kills = n_kills
        kind: type[MlpruneError] = WorkerLostError
        message = f"{who} died"
        if is_memory_kill(err) or n_kills > n_kills_before:
            kind, message = OutOfMemoryError, f"{who} was killed for its memory"
        return kind(message, context, reason=str(cause).partition("\n")[0])


def _error_at_start(err: RayActorError, who: str, context: Mapping[str, object]) -> Exception:
    """Return the error of an actor that failed in its constructor; Ray passes on only the text of the traceback."""
    lines = [line for line in str(err).splitlines() if line.strip()]
    reason = RuntimeError(lines[-1].strip() if lines else "unknown")
    if is_out_of_memory(reason):
        return reason
    return WorkerLostError(f"{who} failed to start", context, reason=str(reason))


def is_memory_kill(err: RayError) -> bool:
    """Whether Ray's own monitor killed the process for its memory."""
    return isinstance(err.cause if isinstance(err, RayTaskError) else err, RayOutOfMemoryError)


def count_kernel_kills(vmstat: Path = VMSTAT) -> int:
    """Count the processes of this machine that the kernel has killed for their memory since boot; 0 if unknown."""
    try:
        lines = vmstat.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
