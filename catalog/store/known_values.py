"""Values of a store for the completion in a shell, from its catalog file as it is, in bounded time."""

from pathlib import Path
from typing import Literal, TypeAlias

from catalog.sql_files import statement
from catalog.store.connections import LIMITED_SETTINGS, connect, interrupt_after
from catalog.store.database_file import FILE_NAME

ValueKind: TypeAlias = Literal["variant", "task", "language"]
MAX_S = 1.0
"""Most seconds of the query, after the file was opened."""


def known_values(store: Path, kind: ValueKind, beginning: str) -> list[str]:
    """Return the values that begin with a text, in order, at most 200. Nothing is folded or written.

    Args:
        store: folder of a store; values are missing that were not folded into its catalog yet.
    Returns: labels of variants and the names that recipes give them, or tasks or languages with an evaluation; nothing
        without a catalog.
    Raises:
        duckdb.Error: the file is locked by another process, is damaged or has another version.
        QueryLimitError: the query took too long.
    """
    path = store / FILE_NAME
    if not path.is_file():
        return []
    with connect(path, read_only=True, settings=LIMITED_SETTINGS) as connection, interrupt_after(connection, MAX_S):
        rows = connection.execute(statement("api", "known_values"), {"kind": kind, "beginning": beginning}).fetchall()
    return [value for (value,) in rows]
