"""Materialized tables: derived from other tables, since every question needs them. Every fold updates them.

Their statements are in `sql/materialized/`; the line `depends on` of the opening comment names the tables that the rows
come from. A fold runs the statements after its last batch. Until then the catalog counts as not current, so that the
next fold finishes one that was interrupted.
"""

from collections.abc import Mapping, Set
from functools import cache
from typing import Final

from catalog.ingest.arrow_rows import arrow_rows
from catalog.ingest.transactions import Connection, transaction
from catalog.ingest.view_files import in_dependency_order
from catalog.sql_files import sql_files, statement

FOLDED = "folded_ids"
"""Name of the Arrow table with the ids of rows that were just added."""
CHANGE_KEY: Final[Mapping[str, str]] = {"comparisons": "comparison_id", "evaluations": "evaluation_id"}
"""Table -> column that identifies its new rows to the statements."""
_STATE = "materialized"


@cache
def dependencies() -> dict[str, frozenset[str]]:
    """Materialized table -> the tables it depends on; each after the materialized tables that its statement reads."""
    files = in_dependency_order({file.name: file for file in sql_files("materialized")})
    return {name: frozenset(file.depends_on) for name, file in files.items()}


def materialized_is_current(connection: Connection) -> bool:
    """Whether the materialized tables are up to date with the tables that they depend on."""
    return noted(connection, _STATE) == "current"


def invalidate_materialized(connection: Connection) -> None:
    """Record, in the transaction that adds rows, that the materialized tables are out of date."""
    connection.execute(statement("fold", "forget_state"), {"name": _STATE})


def refresh(connection: Connection, *, changed: Set[str], ids: Set[str]) -> None:
    """Bring the materialized tables up to date.

    Args:
        changed: tables that rows were added to since the last refresh.
        ids: values of the columns of `CHANGE_KEY` in those rows.
    """
    folded = arrow_rows([("id", "VARCHAR")], [{"id": row_id} for row_id in sorted(ids)])
    with transaction(connection):
        connection.register(FOLDED, folded)
        for name, tables in dependencies().items():
            if tables & changed:
                connection.execute(statement("materialized", name, folded=FOLDED))
        connection.unregister(FOLDED)
        note(connection, _STATE, "current")


def refresh_all(connection: Connection) -> None:
    """Bring the materialized tables up to date, whatever was added."""
    rows = connection.execute(statement("fold", "change_keys")).fetchall()
    every_table = frozenset(table for tables in dependencies().values() for table in tables)
    refresh(connection, changed=every_table, ids={str(row_id) for (row_id,) in rows})


def noted(connection: Connection, name: str) -> str | None:
    """A value that an earlier fold noted under a name."""
    rows = connection.execute(statement("fold", "state"), {"name": name}).fetchall()
    return str(rows[0][0]) if rows else None


def note(connection: Connection, name: str, value: str) -> None:
    """Note a value for later folds."""
    connection.execute(statement("fold", "note_state"), {"name": name, "value": value})
