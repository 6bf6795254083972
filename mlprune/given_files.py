"""Files that a user or another person gave: opened only if they are regular files, and read up to a limit.

A pipe would make a command wait for ever, a device has no end, and a link in a folder of another person can lead to any
file of this machine.
"""

import errno
import os
import stat
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

MIB = 1 << 20
NOT_A_FILE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
"""Errors of a path that leads to a folder, a pipe, a device, or nowhere, where a file should be."""
TEXT_MIB = 64
"""Default limit of `read_given`. Recipes, configurations and indexes are far smaller."""
MOST_EXPANSION, FREE_MIB = 100, 64
"""A compressed file may expand to this many times its size, and in any case to this many MiB."""


def open_given(path: str | Path) -> BufferedReader:
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


def read_given_text(path: str | Path) -> str:
    """Read a whole text in UTF-8, with line ends as `Path.read_text` has them; see `read_given` for the errors.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_given(path).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def expanded_limit(path: Path) -> int:
    """Return the most bytes to which a compressed file or an archive may expand: texts shrink to a tenth, not less."""
    return max(FREE_MIB * MIB, MOST_EXPANSION * path.stat().st_size)


def require_regular(path: str | Path) -> None:
    """Check that a path leads to a regular file, before a library opens it.

    Raises:
        OSError: as for `open_given`.
    """
    open_given(path).close()


def require_inside(path: str | Path, folder: str | Path) -> None:
    """Check that no link on the way to a file leads out of its folder.

    A snapshot in the cache of a hub consists of links into the folder of its repository, which may be followed.

    Raises:
        OSError: one does.
    """
    target, root = os.path.realpath(path), Path(os.path.realpath(folder))
    if root.parent.name == "snapshots" and (root.parents[1] / "blobs").is_dir():
        root = root.parents[1]
    if os.path.commonpath([target, root]) != str(root):
        raise OSError(errno.EPERM, "a link leads out of the folder", str(path))


def require_given(folder: Path, names: Iterable[str]) -> None:
    """Check the files of another person's folder before a library opens or copies them.

    Args:
        names: of files in the folder; those that do not exist are skipped.
    Raises:
        OSError: one is not a regular file, or a link that leads out of the folder. The error has its path.
    """
    for name in names:
        if os.path.lexists(folder / name):
            require_inside(folder / name, folder)
            require_regular(folder / name)


def kind_of(mode: int) -> str:
    """Return what a path leads to, for a message."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
