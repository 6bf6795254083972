"""Folders of an import: the source, the one it writes to, and room on the disk."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from mlprune.atomic import UNFINISHED, flush
from mlprune.errors import ModelError
from mlprune.given_files import require_given

RESERVE_BYTES = 2**26
"""Free space that is left on the disk."""
WAIT_S = 5.0
"""How long to wait for a killed import whose child process has not ended yet."""


def require_space(folder: Path, n_bytes: int, *, purpose: str) -> None:
    """Check that the disk of a folder has room for some bytes.

    Args:
        folder: it exists.
        purpose: what the bytes are for, for the message.
    Raises:
        ModelError: the disk is too small.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes + RESERVE_BYTES > free:
        expected, got = f"{(n_bytes + RESERVE_BYTES) / 1e9:.2f} GB", f"{free / 1e9:.2f} GB free"
        raise ModelError(f"the disk is too small for the {purpose}", path=str(folder), expected=expected, got=got)


@contextmanager
def errors_about(folder: Path, *, in_place_of: Path) -> Iterator[None]:
    """Let errors name a folder of the user in place of a temporary one, which is removed before they are read."""
    try:
        yield
    except ModelError as err:
        context = {
            key: value.replace(str(in_place_of), str(folder)) if isinstance(value, str) else value
            for key, value in err.context.items()
        }
        raise ModelError(err.message, context) from err


@contextmanager
def source_folder(source: Path) -> Iterator[Path]:
    """Yield the folder of a source.

    Args:
        source: folder, or GGUF file. Files next to a GGUF file may belong to other models and are not read.
    Raises:
        ModelError: it is neither, or the folder has a pipe, a device, or a link that leads out of it.
    """
    if source.is_file() and source.suffix == ".gguf":
        with tempfile.TemporaryDirectory() as folder, errors_about(source.parent, in_place_of=Path(folder)):
            Path(folder, source.name).symlink_to(source.absolute())
            yield Path(folder)
        return
    if not source.is_dir():
        got = "a file" if source.exists() else "nothing"
        message = "the source of an import is not a folder"
        raise ModelError(message, path=str(source), expected="a model folder or a .gguf file", got=got)
    try:
        require_given(source, sorted(path.name for path in source.iterdir() if not path.is_dir()))
    except OSError as err:
        message = "a file of the source cannot be imported"
        raise ModelError(message, path=str(err.filename or source), reason=err.strerror) from err
    yield source


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
