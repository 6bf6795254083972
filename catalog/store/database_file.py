"""The catalog file: quarantine of a damaged file, and a consistent copy of a file that is in use."""

import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

FILE_NAME = "catalog.duckdb"
HEADER_BYTES = 3 * 4096
"""Size of the headers at the start of a DuckDB file."""
MAX_COPY_ATTEMPTS = 5


def write_ahead_log(path: Path) -> Path:
    """Return the path of DuckDB's write-ahead log of a catalog file."""
    return path.with_name(f"{path.name}.wal")


def quarantine_file(path: Path) -> bool:
    """Move a damaged catalog file to `catalog.duckdb.damaged-1`; return whether that was possible.

    It replaces the file that was damaged before: every damaged file is as large as the catalog.
    """
    target = path.with_name(f"{path.name}.damaged-1")
    try:
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        write_ahead_log(target).unlink(missing_ok=True)
        path.rename(target)
        if write_ahead_log(path).exists():
            write_ahead_log(path).rename(write_ahead_log(target))
    except OSError:
        return False
    logger.warning("the catalog file is damaged; it is moved to %s and built again from the records", target.name)
    return True


def put_aside_unless_file(path: Path) -> bool:
    """Move a folder, pipe or looping link in place of a catalog file aside; DuckDB would wait for a pipe.

    Returns: whether the path is now a file, or free.
    """
    return path.is_file() or not os.path.lexists(path) or quarantine_file(path)


def snapshot_copy(path: Path, folder: Path) -> Path | None:
    """Copy a catalog file that another process has open, and may write to, in the state of its last checkpoint.

    DuckDB survives a crash at any moment because it never overwrites blocks that the file's headers refer to: changes
    go to the write-ahead log and to unused blocks, and a checkpoint then replaces the older header. As long as the
    headers do not change, the blocks that they refer to do not change either, and a copy made in that time is
    consistent. The write-ahead log is not copied: it may refer to blocks that were copied before they were written. Its
    changes are folded from the records instead. A metadata block that was copied during a write has a wrong checksum.

    Returns: the copy; None if it is not a file, the folder has too little space, or every attempt coincided with a
        checkpoint.
    """
    if not path.is_file():
        return None
    copy = folder / FILE_NAME
    for _ in range(MAX_COPY_ATTEMPTS):
        if path.stat().st_size > shutil.disk_usage(folder).free // 2:
            return None
        before = _headers(path)
        shutil.copyfile(path, copy)
        if before == _headers(copy) == _headers(path):
            return copy
    return None


def _headers(path: Path) -> bytes:
    """Read the headers of a DuckDB file: the main header, and the two that checkpoints write alternately."""
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)
