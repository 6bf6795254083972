"""Where the catalog file lies, and what becomes of one that cannot be read."""

import logging
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

FILE_NAME = "catalog.duckdb"


def write_ahead_log(path: Path) -> Path:
    """The file beside a catalog file in which DuckDB keeps what it has not yet written there."""
    return path.with_name(f"{path.name}.wal")


def set_aside(path: Path) -> bool:
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
    """Copy a catalog file that somebody holds into a folder, with what is not yet written there.

    Returns: the copy; None if the folder has no room, or if the file changed while it was copied.
    """
    before = _state(path)
    if sum(size for size, _ in before) > shutil.disk_usage(folder).free // 2:
        return None
    copy = folder / FILE_NAME
    shutil.copyfile(path, copy)
    if write_ahead_log(path).exists():
        shutil.copyfile(write_ahead_log(path), write_ahead_log(copy))
    return copy if _state(path) == before else None


def _state(path: Path) -> list[tuple[int, int]]:
    """Size and time of change of a catalog file and of the log beside it."""
    found = (one.stat() for one in (path, write_ahead_log(path)) if one.exists())
    return [(info.st_size, info.st_mtime_ns) for info in found]
