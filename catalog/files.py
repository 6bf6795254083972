"""Where the catalog file lies, and what becomes of one that cannot be read."""

import logging
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
