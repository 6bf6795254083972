"""The folder that an import writes to before it gets its final name."""

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from mlprune.atomic import UNFINISHED, flush
from mlprune.errors import ModelError

WAIT_S = 5.0
"""How long to wait for a killed import whose child process has not ended yet."""


@dataclass(frozen=True)
class Staging:
    """A folder that is being written."""

    path: Path
    lock: int
    """File descriptor that locks the folder; a child process that writes to the folder inherits it."""


@contextmanager
def staging_folder(target: Path) -> Iterator[Staging]:
    """Yield a new folder next to the target. At the end of the block its files are flushed and it gets its name.

    The folder is locked while a process writes to it. Folders of killed imports, which are not locked any more, are
    removed first. If the block raises, the folder is removed.

    Raises:
        ModelError: another import writes the same target, or the target is not empty at the end.
        OSError: the folder cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    folder = target.with_name(f"{target.name}{UNFINISHED}{uuid.uuid4().hex[:8]}")
    folder.mkdir()
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Staging(folder, lock)
        for path in sorted(folder.iterdir()):
            flush(path)
        os.fsync(lock)
        _rename(folder, target)
        flush(target.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError as err:
        if err.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        message = "another program wrote the folder of the import meanwhile; run the same command again"
        raise ModelError(message, path=str(target)) from err


def remove_abandoned(target: Path) -> None:
    """Remove the folders of killed imports to the same target.

    Raises:
        ModelError: another import writes one of them.
    """
    for folder in sorted(target.parent.glob(f"{escape(target.name)}{UNFINISHED}*")):
        deadline = time.monotonic() + WAIT_S
        while not _removed_if_unlocked(folder):
            if time.monotonic() > deadline:
                raise ModelError("another import writes this folder; wait until it has ended", path=str(target))
            time.sleep(0.1)


def _removed_if_unlocked(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
