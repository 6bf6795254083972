"""Reading and listing of local folders, whatever is in place of a file and whatever other processes do meanwhile.

A pipe, a device, or a link that leads to itself or to a folder above itself, is listed like a file, and cannot be read.
A file whose name is not UTF-8 is skipped.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, TypeAlias

from mlprune.errors import StoreError
from mlprune.given_files import NOT_A_FILE, open_given

logger = logging.getLogger(__name__)

OnUnreadableName: TypeAlias = Callable[[str], None]
"""Is called with the path of a file whose name is not UTF-8."""

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a write to a folder or file system that is read-only for this process."""


@dataclass(frozen=True)
class FileInfo:
    """A file of a store, as a listing describes it."""

    path: str
    """Relative to the store."""
    n_bytes: int
    modified_at: float
    """Seconds since 1970, by the clock of the machine that keeps the files."""


def read_local(path: str, start: int = 0, n_bytes: int | None = None) -> bytes:
    """Read a local file or some bytes of it, fewer at its end. A pipe is not waited for.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: with an `errno` of `NOT_A_FILE`, it is not a regular file.
    """
    with open_given(path) as file:
        if start:
            file.seek(start)
        n_left = os.fstat(file.fileno()).st_size - start if n_bytes is None else n_bytes
        return file.read(max(0, n_left))


def file_size(path: str) -> int:
    """Return the size of a local file, -1 if it does not exist or is not a regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every artefact of a plan: a Path would cost more
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def create_local(path: str, data: bytes) -> bool:
    """Write a small file unless it exists, without a flush; return whether it was written.

    Raises:
        OSError: it cannot be written; with an `errno` of `NOT_A_FILE`, something else is in its place.
    """
    target = Path(path)
    try:
        with _created(target) as stream:
            stream.write(data)
    except FileExistsError:
        if not target.is_file() and os.path.lexists(target):
            raise OSError(errno.ENXIO, "not a regular file", path) from None
        return False
    except OSError:
        target.unlink(missing_ok=True)  # on a full disk, an empty file was created
        raise
    return True


def _created(target: Path) -> BinaryIO:
    """Open a new file. Its folder usually exists, so it is created only if it is missing."""
    try:
        return target.open("xb")
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")


@cache
def report_unreadable_name(path: str) -> None:
    """Log, once per process, that a file is skipped because its name is not UTF-8."""
    logger.warning("%s is skipped: its name is not UTF-8", readable(path))


def readable(path: str) -> str:
    """Return a path as text; bytes that are not UTF-8 become escapes such as `\\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def entries_below(
    folder: str, *, on_unreadable_name: OnUnreadableName = report_unreadable_name
) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a local folder. Each folder is listed once, so some files may be gone by now."""
    folders = [folder]
    while folders:
        for entry in entries_in(folders.pop(), on_unreadable_name=on_unreadable_name):
            if _is_folder(entry):
                folders.append(entry.path)
            else:
                yield entry


def entries_in(folder: str, *, on_unreadable_name: OnUnreadableName = report_unreadable_name) -> list[os.DirEntry[str]]:
    """List the files and folders in a local folder; empty if it does not exist or is something else.

    Raises:
        StoreError: this user may not read it.
    """
    try:
        with os.scandir(folder) as entries:
            listed = list(entries)
    except FileNotFoundError:
        return []
    except OSError as err:
        if err.errno in NOT_A_FILE:
            return []
        if err.errno in READ_ONLY:
            raise StoreError("a folder of the store cannot be read", path=folder, reason=str(err.strerror)) from err
        raise
    return [entry for entry in listed if _has_text_name(entry, on_unreadable_name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and not (entry.is_symlink() and _leads_upwards(entry.path))
    except OSError:  # a link to itself
        return False


def _leads_upwards(link: str) -> bool:
    """Whether a link leads to a folder that contains the link: following it would not end."""
    target = os.path.realpath(link)
    return os.path.commonpath([target, os.path.realpath(os.path.dirname(link))]) == target  # noqa: PTH120


def _has_text_name(entry: os.DirEntry[str], on_unreadable_name: OnUnreadableName) -> bool:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        on_unreadable_name(entry.path)
        return False
    return True


def file_infos(entries: Iterable[os.DirEntry[str]]) -> Iterator[FileInfo]:
    """Yield the regular files among some entries, with their sizes; files that are gone by now are left out."""
    for entry in entries:
        with suppress(OSError):
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                yield FileInfo(entry.path, status.st_size, status.st_mtime)
