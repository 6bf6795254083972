"""Files that a user or another person gave: opened only if they are regular files, and read up to a limit.

A pipe would make a command wait for ever, a device has no end, and a link in a folder of another person can lead to any
file of this machine.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MIB = 1 << 20
TEXT_MIB = 64
"""Default limit of `read_given`. Recipes, configurations and indexes are far smaller."""


def open_given(path: str | Path) -> BinaryIO:
    """Open a regular file for reading. A pipe is not waited for.

    Raises:
        OSError: it cannot be opened, or is a folder, a pipe or a device.
    """
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115 - the caller closes it; an opener
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        raise OSError(errno.ENXIO, f"not a regular file, but {kind_of(mode)}", str(path))
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def read_given(path: str | Path, *, most_mib: int = TEXT_MIB) -> bytes:
    """Read a whole regular file.

    Raises:
        OSError: as for `open_given`, or the file is larger than the limit.
    """
    limit = most_mib * MIB
    with open_given(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"the file is too large: more than {most_mib} MiB", str(path))
    return data


def require_regular(path: str | Path) -> None:
    """Check that a path leads to a regular file, before a library opens it.

    Raises:
        OSError: as for `open_given`.
    """
    open_given(path).close()


def require_inside(path: str | Path, folder: str | Path) -> None:
    """Check that no link on the way to a file leads out of its folder.

    Raises:
        OSError: one does.
    """
    target, root = os.path.realpath(path), os.path.realpath(folder)
    if os.path.commonpath([target, root]) != root:
        raise OSError(errno.EPERM, "a link leads out of the folder", str(path))


def kind_of(mode: int) -> str:
    """Return what a path leads to, for a message."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
