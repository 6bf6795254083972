"""Process identity: a name for this process, and whether a process of this machine has ended.

Claims, scratch folders and unfinished files carry such a name, so that those of killed processes can be recognised.
"""

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
_FILE_TAG = re.compile(r"-([0-9a-f]{8})-(\d+)-(\d+)-")


def this_process() -> str | None:
    """Return a name of this process that is unique across machines; None if there is no /proc, as outside Linux.

    It is made of the machine's boot, the PID namespace, the PID and the start time.
    """
    namespace, start = _namespace(), _start(os.getpid())
    return f"{namespace}/{os.getpid()}/{start}" if namespace and start else None


def is_gone(process: object) -> bool:
    """Return whether a process has ended, by the name that `this_process` gave it.

    False for a process of another machine or PID namespace, of which nothing is known, and for any other value.
    """
    if not isinstance(process, str) or process.count("/") != 2:
        return False
    namespace, pid, start = process.split("/")
    return namespace == _namespace() and pid.isdecimal() and _start(int(pid)) != start


def is_alive(process: object) -> bool:
    """Return whether a process runs, by the name that `this_process` gave it; False if nothing is known of it."""
    if not isinstance(process, str) or process.count("/") != 2:
        return False
    return process.split("/")[0] == _namespace() and not is_gone(process)


def file_tag() -> str:
    """Return a name of this process that can be part of a file name; empty if there is no /proc."""
    return _file_tag(os.getpid())


@lru_cache(maxsize=1)
def _file_tag(pid: int) -> str:
    """Return the tag of this process, whose id is the key of the cache: a forked process has another one."""
    namespace, start = _namespace(), _start(pid)
    return f"{_short(namespace)}-{pid}-{start}" if namespace and start else ""


def is_of_ended_process(file_name: str) -> bool:
    """Return whether a file name contains the tag of a process of this machine that has ended."""
    match = _FILE_TAG.search(file_name)
    if match is None:
        return False
    namespace = _namespace()
    return namespace is not None and match[1] == _short(namespace) and _start(int(match[2])) != match[3]


def _short(namespace: str) -> str:
    return hashlib.sha256(namespace.encode()).hexdigest()[:8]


def _namespace() -> str | None:
    """Return this boot of this machine and the PID namespace, of which a container has its own."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _start(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot; None if it does not exist or is a zombie."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
