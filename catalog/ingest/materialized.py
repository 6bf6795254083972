"""Materialized tables: computed from other tables at every fold, because most queries need them.

Their statements are in `sql/materialized/`. The line `depends on` of an opening comment names the tables that the rows
are computed from. `{families}` stands for the text of `sql/parts/families.sql`, which several statements share, and
`{folded}` for the ids of new rows. A fold runs the statements after its last batch. Until then the catalog is marked as
out of date, so that the next fold completes an interrupted one.
"""

from collections.abc import Mapping, Set
from functools import cache
from typing import Final

from catalog.ingest.arrow_rows import arrow_rows
from catalog.ingest.transactions import Connection, transaction
from catalog.ingest.view_files import in_dependency_order
from catalog.sql_files import sql_files, statement

FOLDED = "folded_ids"
"""Name of the Arrow table with the ids of the rows that this fold added."""
CHANGE_KEY: Final[Mapping[str, str]] = {
    "aggregate_results": "comparison_id",
    "comparison_results": "comparison_id",
    "evaluations": "evaluation_id",
    "questions": "question_id",
    "variants": "variant_id",
}
"""Table -> column by which the statements find its new rows."""
_STATE = "materialized"


@cache
def dependencies() -> dict[str, frozenset[str]]:
    """Return materialized table -> tables that it depends on, in an order in which the tables can be refreshed."""
    files = in_dependency_order({file.name: file for file in sql_files("materialized")})
    return {name: frozenset(file.depends_on) for name, file in files.items()}


def materialized_is_current(connection: Connection) -> bool:
    """Whether the materialized tables are up to date with the tables that they depend on."""
    return read_state(connection, _STATE) == "current"


def invalidate_materialized(connection: Connection) -> None:
    """Record, in the transaction that adds rows, that the materialized tables are out of date."""
    connection.execute(statement("fold", "forget_state"), {"name": _STATE})


def refresh(connection: Connection, *, changed: Set[str], ids: Set[str]) -> None:
    """Bring the materialized tables up to date.

    Args:
        changed: tables to which rows were added since the last refresh.
        ids: values of the columns of `CHANGE_KEY` in those rows.
    """
    folded = arrow_rows([("id", "VARCHAR")], [{"id": row_id} for row_id in sorted(ids)])
    parts = {file.name: file.text for file in sql_files("parts")}
    with transaction(connection):
        connection.register(FOLDED, folded)
        for name, tables in dependencies().items():
            if tables & changed:
                connection.execute(statement("materialized", name, folded=FOLDED, **parts))
        connection.unregister(FOLDED)
        write_state(connection, _STATE, "current")


def refresh_all(connection: Connection) -> None:
    """Compute the materialized tables from all rows, old and new; nothing follows from tables without rows."""
    rows = connection.execute(statement("fold", "change_keys")).fetchall()
    every_table = frozenset(table for tables in dependencies().values() for table in tables)
    filled = {name for name in every_table if connection.execute(statement("fold", "first_row", table=name)).fetchall()}
    refresh(connection, changed=filled, ids={str(row_id) for (row_id,) in rows})


def read_state(connection: Connection, name: str) -> str | None:
    """Return the value that an earlier fold stored under a name; None if there is none."""
    rows = connection.execute(statement("fold", "state"), {"name": name}).fetchall()
    return str(rows[0][0]) if rows else None


def write_state(connection: Connection, name: str, value: str) -> None:
    """Store a value under a name for later folds."""
    connection.execute(statement("fold", "note_state"), {"name": name, "value": value})
