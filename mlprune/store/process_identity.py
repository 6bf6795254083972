"""Which process this is, and whether another one of this machine has ended: for claims of runs that were killed."""

import os
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str | None:
    """Names this process among all of all machines: boot, process space, number and start; None where Linux's /proc
    is missing."""
    space, start = _space(), _start(os.getpid())
    return f"{space}/{os.getpid()}/{start}" if space and start else None


def is_gone(process: object) -> bool:
    """Whether a process, as `this_process` named it there, ran in our process space and has ended.

    False for a process elsewhere, of which nothing can be known, and for anything else.
    """
    if not isinstance(process, str) or process.count("/") != 2:
        return False
    space, number, start = process.split("/")
    return space == _space() and number.isdecimal() and _start(int(number)) != start


def is_alive(process: object) -> bool:
    """Whether a process, as `this_process` named it there, runs in our process space; False if nothing can be known."""
    if not isinstance(process, str) or process.count("/") != 2:
        return False
    return process.split("/")[0] == _space() and not is_gone(process)


def _space() -> str | None:
    """This boot of this machine, and the space in which its process numbers count (a container has its own)."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _start(number: int) -> str | None:
    """When a process began, in ticks since the boot; None if there is none, or only what its parent has to collect."""
    try:
        fields = (_PROC / str(number) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
