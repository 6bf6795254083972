"""Insert rows into tables of the catalog."""

from collections.abc import Mapping, Sequence
from operator import itemgetter

from catalog.ingest.arrow_rows import arrow_rows
from catalog.ingest.table_files import Table
from catalog.ingest.transactions import Connection
from catalog.sql_files import statement

CLUSTERED = ("task", "split", "metric", "language")
"""Columns by which new rows are sorted. Most queries select one task, split and metric, and in sorted rows DuckDB can
skip whole row groups."""
INCOMING = "incoming_rows"
"""Name of the Arrow table that is inserted."""

Row = Mapping[str, object]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows into a table in one statement; keys without a column are ignored, missing keys are NULL.

    A row of an old record may lack a column of the primary key; its value is then an empty text. If two rows have the
    same key, the greater row is kept, so that the order of insertion does not matter.

    Raises:
        ValueError: a value does not have the type of its column.
    """
    try:
        n_keys = len(set(map(itemgetter(*table.primary_key), rows)))
    except KeyError:
        rows = [{**dict.fromkeys(table.primary_key, ""), **row} for row in rows]
        n_keys = len(set(map(itemgetter(*table.primary_key), rows)))
    expressions = [
        f"{column.name}::TIMESTAMP AS {column.name}" if column.type == "TIMESTAMP" else column.name
        for column in table.columns
    ]
    text = statement(
        "fold",
        _statement_name(connection, table, has_distinct_keys=n_keys == len(rows)),
        table=table.name,
        rows=INCOMING,
        columns=", ".join(expressions),
        order=", ".join([*(name for name in CLUSTERED if name in table.column_names), *table.primary_key]),
        keys=", ".join(table.primary_key),
        greatest_first=", ".join(f"{name} DESC NULLS FIRST" for name in table.column_names),
        action=_on_conflict(table),
    )
    connection.register(INCOMING, arrow_rows([(column.name, column.type) for column in table.columns], rows))
    connection.execute(text)
    connection.unregister(INCOMING)  # after an error, the rollback removes the name


def _statement_name(connection: Connection, table: Table, *, has_distinct_keys: bool) -> str:
    """Return the name of the fastest statement: a conflict is only possible with another row of the same key."""
    if not has_distinct_keys:
        return "insert_arrow_distinct"
    first_rows = connection.execute(statement("fold", "first_row", table=table.name)).fetchall()
    return "insert_arrow" if first_rows else "insert_arrow_into_empty"


def _on_conflict(table: Table) -> str:
    names = [name for name in table.column_names if name not in table.primary_key]
    if not names:
        return "NOTHING"
    existing, incoming = (", ".join(f"{owner}.{name}" for name in names) for owner in (table.name, "excluded"))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"UPDATE SET {updates} WHERE row({incoming}) > row({existing})"
