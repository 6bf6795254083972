"""Listing of local folders: files, sizes and times, whatever other processes create and remove meanwhile.

A link that leads to itself is listed like a file. A file whose name is not UTF-8 is reported and skipped.
"""

import errno
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

logger = logging.getLogger(__name__)

NOT_A_FILE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
"""Errors of a path that leads to a folder, or nowhere, where a file should be."""
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


def file_size(path: str) -> int:
    """Return the size of a local file, -1 if it does not exist or is not a regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every artefact of a plan: a Path would cost more
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def entries_below(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a local folder. Each folder is listed once, so some files may be gone by now."""
    folders = [folder]
    while folders:
        for entry in entries_in(folders.pop()):
            if _is_folder(entry):
                folders.append(entry.path)
            else:
                yield entry


def entries_in(folder: str) -> list[os.DirEntry[str]]:
    """List the files and folders in a local folder; empty if it does not exist."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if _has_text_name(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _has_text_name(entry: os.DirEntry[str]) -> bool:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        _report_name(entry.path)
        return False
    return True


@cache
def _report_name(path: str) -> None:
    """Log, once per process, that a file is skipped because its name is not UTF-8."""
    logger.warning("%s is skipped: its name is not UTF-8", os.fsencode(path).decode(errors="backslashreplace"))


def file_infos(entries: Iterable[os.DirEntry[str]]) -> Iterator[FileInfo]:
    """Yield the regular files among some entries, with their sizes; files that are gone by now are left out."""
    for entry in entries:
        with suppress(OSError):
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                yield FileInfo(entry.path, status.st_size, status.st_mtime)
