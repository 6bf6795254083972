"""Where the catalog file lies, and what becomes of one that cannot be read."""

import logging
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

FILE_NAME = "catalog.duckdb"
HEADER_BYTES = 3 * 4096
"""Where the headers of a DuckDB file end."""
COPY_TRIES = 5
"""Copies of a file that are begun before it counts as one that cannot be copied."""


def write_ahead_log(path: Path) -> Path:
    """The file beside a catalog file in which DuckDB keeps what it has not yet written there."""
    return path.with_name(f"{path.name}.wal")


def quarantine_file(path: Path) -> bool:
    """Move a damaged catalog file to `catalog.duckdb.damaged-<n>`; returns whether that was possible."""
    n = 1
    while (target := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    try:
        path.rename(target)
        if write_ahead_log(path).exists():
            write_ahead_log(path).rename(write_ahead_log(target))
    except OSError:
        return False
    logger.warning("the catalog file is damaged: moved to %s and made anew from the records", target.name)
    return True


def copied(path: Path, folder: Path) -> Path | None:
    """Copy a catalog file that somebody holds, and perhaps writes to, into a folder: as its last checkpoint left it.

    DuckDB dies at any moment without harm, so it never touches what the file's headers lead to: changes go to the log
    beside the file and to blocks that nothing leads to; a checkpoint then replaces the older header. While the headers
    stay as they are, so does all they lead to, and a copy made meanwhile is whole, whatever else was written. The log
    is left out: it may lead to blocks that were copied before they were written. What it holds is folded from records.
    A block in which old metadata lies beside new may be copied in the middle of a write; its checksum tells.

    Returns: the copy; None if the folder has no room, or every try met a checkpoint.
    """
    copy = folder / FILE_NAME
    for _ in range(COPY_TRIES):
        if path.stat().st_size > shutil.disk_usage(folder).free // 2:
            return None
        before = _headers(path)
        shutil.copyfile(path, copy)
        if before == _headers(copy) == _headers(path):
            return copy
    return None


def _headers(path: Path) -> bytes:
    """The first bytes of a DuckDB file: what kind of file it is, and the two headers that checkpoints write in turn."""
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)
