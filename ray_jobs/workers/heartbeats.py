"""Heartbeats of workers: find processes that have not answered for a while. Does not use Ray.

A process that computes in native code may be silent for long. The caller therefore looks at the state of a silent
process, and ends only a stopped one.
"""

import math
import os
import signal
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from mlprune.errors import BadInputError
from mlprune.processes.job_parts import RunningParts

SILENT_AFTER_VARIABLE = "MLPRUNE_SILENT_AFTER_S"
"""Environment variable of the driver with the seconds after which a worker counts as silent."""
SILENT_AFTER_S = 120.0
"""Its default. A process that is stopped for less goes on where it was."""
CHECKS_PER_SILENCE = 6
"""Least number of checks in this time."""
MAX_INTERVAL_S = 2.0
"""Longest time between two checks: the replies say how far the jobs are."""
PROC = Path("/proc")
STOPPED = "T"
"""State of a stopped process in /proc."""
RAY_TITLE = "ray::"
"""Beginning of the command line of every process of a Ray actor."""

Reply = TypeVar("Reply", bound=Hashable)


def silent_after_s() -> float:
    """Return the seconds after which a worker counts as silent.

    Raises:
        BadInputError: the environment variable is not a positive number.
    """
    text = os.environ.get(SILENT_AFTER_VARIABLE)
    if not text:
        return SILENT_AFTER_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        message = "not a time after which a worker is silent"
        raise BadInputError(message, variable=SILENT_AFTER_VARIABLE, expected="a positive number of seconds", got=text)
    return seconds


@dataclass(frozen=True)
class Place:
    """Where a process runs."""

    node_id: str
    process_id: int


@dataclass(frozen=True)
class Beat:
    """A sign of life."""

    place: Place
    parts: RunningParts = field(default_factory=dict)
    """How far the job of the process is. Silence does not depend on it."""


class Heartbeats(Generic[Reply]):
    """The processes that were asked for a sign of life, by name.

    Args:
        ask: asks the process of a name, without waiting; returns what stands for its reply.
        read: returns the replies that have arrived -> the sign of life; None if the process has died, which the
            caller notices elsewhere.
        silent_after_s: seconds without a reply after which a process is silent.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        ask: Callable[[str], Reply],
        read: Callable[[list[Reply]], Mapping[Reply, Beat | None]],
        *,
        silent_after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.silent_after_s = silent_after_s
        self.interval_s = min(silent_after_s / CHECKS_PER_SILENCE, MAX_INTERVAL_S)
        """Seconds between two checks."""
        self._ask = ask
        self._read = read
        self._clock = clock
        self._next_check = clock()
        self._waiting: dict[str, tuple[Reply, float]] = {}
        """Process that was asked -> its reply, and when the silence began."""
        self._beats: dict[str, tuple[Beat, float]] = {}
        """Process -> its last sign of life, and when that was read."""

    @property
    def parts(self) -> RunningParts:
        """How far the jobs of the processes were at their last sign of life. Can be read in any thread."""
        now, beats = self._clock(), list(self._beats.values())
        return {key: one.later(now - at) for beat, at in beats for key, one in beat.parts.items()}

    def silent(self, names: Iterable[str]) -> dict[str, Place]:
        """Return the processes that are silent -> where they ran. Each is returned again after another such time.

        A process that has never replied is not returned: it may still start, and its place is not known.

        Args:
            names: of all processes; the others are forgotten.
        """
        now = self._clock()
        if now < self._next_check:
            return {}
        self._next_check = now + self.interval_s
        names = list(names)
        self._waiting = {name: self._waiting[name] for name in names if name in self._waiting}
        self._beats = {name: self._beats[name] for name in names if name in self._beats}
        arrived = self._read([reply for reply, _ in self._waiting.values()])
        found: dict[str, Place] = {}
        for name in names:
            if name in self._waiting:
                reply, since = self._waiting[name]
                if reply not in arrived:
                    if now - since >= self.silent_after_s and name in self._beats:
                        self._waiting[name] = (reply, now)
                        found[name] = self._beats[name][0].place
                    continue
                if (beat := arrived[reply]) is not None:
                    self._beats[name] = beat, now
            self._waiting[name] = (self._ask(name), now)
        return found


def end_if_stopped(process_id: int, *, title: str = RAY_TITLE) -> bool:
    """Kill a process of a Ray actor on this machine if it is stopped, as by SIGSTOP; return whether it was.

    Its death is then noticed like any other. A process that computes or waits is left alone, and so is one that a
    debugger has stopped, and any process of a system without /proc.

    Args:
        title: beginning of its command line, so that no other process that has this id by now is killed.
    """
    folder = PROC / str(process_id)
    try:
        state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        command = (folder / "cmdline").read_bytes().decode(errors="replace")
        if state != STOPPED or not command.startswith(title):
            return False
        os.kill(process_id, signal.SIGKILL)
    except (OSError, IndexError):
        return False
    return True
