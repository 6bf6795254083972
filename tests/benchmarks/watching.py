"""Measure a command from outside: elapsed time and total memory of all its processes."""

import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY_S = 0.05
RAY_NAMES = ("raylet", "gcs_server", "ray::IDLE", "dashboard", "log_monitor", "runtime_env")
"""Names of Ray's own processes."""


@dataclass(frozen=True)
class Watched:
    """Measurements of a command."""

    exit_code: int
    elapsed_s: float
    peak_bytes: int
    """Peak total resident memory of its processes, without those of Ray itself."""
    trace: tuple[tuple[float, int], ...]
    """(seconds since the start, highest total memory in that second)."""


def watched(command: Sequence[str], log: Path) -> Watched:
    """Run a command to its end and write its output to a file."""
    started = time.monotonic()
    seen: dict[int, int] = {}
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        ended = threading.Event()
        waiting = threading.Thread(target=lambda: (process.wait(), ended.set()), daemon=True)
        waiting.start()
        while not ended.wait(EVERY_S):
            second = int(time.monotonic() - started)
            seen[second] = max(seen.get(second, 0), resident_bytes(process.pid))
    elapsed = time.monotonic() - started
    trace = tuple((float(second), n_bytes) for second, n_bytes in sorted(seen.items()))
    return Watched(process.returncode, elapsed, max(seen.values(), default=0), trace)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, without Ray's own."""
    total = 0
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.Error):
                if not process.name().startswith(RAY_NAMES):
                    total += process.memory_info().rss
    return total
