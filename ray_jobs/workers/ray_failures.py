"""What the loss of a process on Ray means for the job that it held.

A process that was killed for its memory is told apart from one that died otherwise, because the first may do with less
and the second must do the same again: a job that is merely unlucky keeps its batches, and so its bytes.
"""

from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError as RayOutOfMemoryError
from ray.exceptions import RayError, RayTaskError

from mlprune.errors import MlpruneError, OutOfMemoryError, WorkerLostError

VMSTAT = Path("/proc/vmstat")


class FailureClassifier:
    """Explains losses of processes that one process depends on.

    Ray's own monitor says when it kills for memory, on any node. The kernel does not: we look whether it has killed
    anything on this machine since the last loss; on another node such a death counts as any other.

    Args:
        vmstat: where the kernel counts.
    """

    def __init__(self, vmstat: Path = VMSTAT) -> None:
        self._vmstat = vmstat
        self._n_kills = kernel_kills(vmstat)

    def get(self, references: Any, *, who: str, **context: Any) -> Any:
        """What references stand for.

        Args:
            who: the process that makes it, for messages.
            context: more of it.

        Raises:
            OutOfMemoryError: the process was killed for its memory.
            WorkerLostError: it died otherwise, or what it had made is lost.
        """
        try:
            return ray.get(references)
        except RayError as err:
            raise self.explained(err, who=who, **context) from err

    def explained(self, err: RayError, *, who: str, **context: Any) -> Exception:
        """The error of a job for an error of Ray; one that was raised in the process itself is that one."""
        cause = err.cause if isinstance(err, RayTaskError) else err
        if not isinstance(cause, RayError):
            return cause if isinstance(cause, Exception) else err
        kills, before = kernel_kills(self._vmstat), self._n_kills
        self._n_kills = kills
        kind: type[MlpruneError] = WorkerLostError
        message = f"{who} died"
        if isinstance(cause, RayOutOfMemoryError) or kills > before:
            kind, message = OutOfMemoryError, f"{who} was killed for its memory"
        return kind(message, context, reason=str(cause).partition("\n")[0])


def kernel_kills(vmstat: Path = VMSTAT) -> int:
    """How many processes of this machine the kernel has killed for want of memory since it started; 0 if unknown."""
    try:
        lines = vmstat.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
