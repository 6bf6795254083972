"""Atomic writes: a file or folder appears whole under its name, or not at all.

The name of an unfinished file or folder contains the process that writes it, so that what killed processes leave can be
removed.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from mlprune.processes.process_identity import file_tag, is_of_ended_process

WRITING = "writing"
UNFINISHED = f".{WRITING}-"
"""In the name of a file or folder that is being written."""
LEFT_OVER_AFTER_S = 3600.0
"""Age of the last change after which an unfinished file or folder is taken for that of a killed process, if its process
is not one of this machine."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path next to the target to write to; at the end of the block it is flushed and renamed to the target.

    The folders above the target are created. If the block raises, what it wrote is removed and the target stays as it
    was. The flush covers a file's content, but not the files in a folder.

    Raises:
        OSError: the disk is full, the folder is read-only, or a folder with files is in place of the target.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished_path(target)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(target)
    finally:
        _remove(temporary)
    flush(target.parent)


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all; see `replacing`."""
    with replacing(target) as temporary:
        temporary.write_bytes(data)


def unfinished_path(target: Path, activity: str = WRITING) -> Path:
    """Return a new path next to a target, under which this process writes it.

    Args:
        activity: the part of the name that says what is done to the target.
    """
    return target.with_name(f"{target.name}.{activity}-{file_tag()}-{uuid.uuid4().hex[:8]}")


def remove_left_over(target: Path, activity: str = WRITING) -> None:
    """Remove what killed processes left of earlier attempts to write the target; errors are ignored.

    The folder of the target is listed, so this is for targets that a command writes once.
    """
    for path in target.parent.glob(f"{escape(target.name)}.{activity}-*"):
        with suppress(OSError):
            if is_of_ended_process(path.name) or time.time() - _changed_at(path) > LEFT_OVER_AFTER_S:
                _remove(path)


def _changed_at(path: Path) -> float:
    return max((one.lstat().st_mtime for one in (path, *path.rglob("*"))), default=0.0)


def flush(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
