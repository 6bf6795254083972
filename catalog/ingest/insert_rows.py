"""Insert rows into tables: typed Arrow columns, transactions, and materialized tables.

Convert rows to typed Arrow columns, which DuckDB inserts without conversion.

Numbers and booleans are never converted to another type: a record that does not fit its table raises an error. Only
text columns accept other values, as JSON text.

Materialized tables: computed from other tables at every fold, because most queries need them.

Their statements are in `sql/materialized/`. The line `depends on` of an opening comment names the tables that the rows
are computed from. `{families}` stands for the text of `sql/parts/families.sql`, which several statements share, and
`{folded}` for the ids of new rows. A fold runs the statements after its last batch. Until then the catalog is marked as
out of date, so that the next fold completes an interrupted one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cache
from operator import itemgetter
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from catalog.ingest.table_files import Table, declared_tables, in_dependency_order
from catalog.sql_files import sql_files, statement
from mlprune.numeric.statistics.power import (
    detectable_difference_of_items,
    detectable_difference_of_mean,
    fewest_changed,
    two_sided_quantile,
)
from mlprune.numeric.statistics.variance_components import ErrorNumbers, ErrorParts

TYPES: Mapping[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "TIMESTAMP": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "BIGINT[]": pa.list_(pa.int64()),
    "VARCHAR[]": pa.list_(pa.string()),
    "DOUBLE": pa.float64(),
    "JSON": pa.string(),
}
"""DuckDB type of a column -> Arrow type of its values. Timestamps are text, which DuckDB casts."""
LARGEST_COUNT = 2**53
"""Largest magnitude of a count, a BIGINT column whose name begins with `n_`. With a larger one, a sum or product of a
view could overflow, and the view could not be queried at all."""
CLUSTERED = ("task", "split", "metric", "language")
"""Columns by which new rows are sorted. Most queries select one task, split and metric, and in sorted rows DuckDB can
skip whole row groups."""
INCOMING = "incoming_rows"
"""Name of the Arrow table that is inserted."""
Row = Mapping[str, object]
FOLDED = "folded_ids"
"""Name of the Arrow table with the ids of the rows that this fold added."""
CHANGE_KEY: Final[Mapping[str, str]] = {
    "aggregate_results": "comparison_id",
    "answer_results": "question_id",
    "comparison_results": "comparison_id",
    "evaluations": "evaluation_id",
    "questions": "question_id",
    "variants": "variant_id",
}
"""Table -> column by which the statements find its new rows."""
_STATE = "materialized"


class Result(Protocol):
    """Result of a statement. Fetch all of it: DuckDB refuses to register a table while a result is unfinished."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""


class Connection(Protocol):
    """The part of a DuckDB connection that the catalog needs."""

    def execute(self, query: str, parameters: object = None) -> Result:
        """Run a statement."""

    def register(self, view_name: str, python_object: object) -> object:
        """Make an Arrow table readable under a name."""

    def unregister(self, view_name: str) -> object:
        """Remove a registered name."""


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Commit all statements of the block, or none if it raises."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def arrow_rows(columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, object]]) -> pa.Table:
    """Return rows as an Arrow table; keys without a column are ignored, missing keys are NULL.

    Args:
        columns: (name, type) of the table, each type a key of `TYPES`.
    Returns: a table. In VARCHAR and JSON columns, values that are not text become JSON text.
    Raises:
        ValueError: a value does not have the type of its column, or is out of range.
    """
    arrays = [_array(name, kind, values_of(name, rows)) for name, kind in columns]
    return pa.Table.from_arrays(arrays, names=[name for name, _ in columns])


def values_of(name: str, rows: Sequence[Mapping[str, object]]) -> list[object]:
    """Return the value of each row under a key, None for rows without it."""
    try:
        return list(map(itemgetter(name), rows))  # fast path: every row has the key
    except KeyError:
        return [row.get(name) for row in rows]


def _array(name: str, kind: str, values: list[object]) -> pa.Array:
    try:
        if kind in ("INTEGER", "BIGINT", "BIGINT[]"):
            array = pa.array(values).cast(TYPES[kind])  # pa.array(values, type=...) would truncate 1.5 to 1
            if kind == "BIGINT" and name.startswith("n_"):
                _require_counts(array)
            return array
        return pa.array(values, type=TYPES[kind])
    except pa.ArrowTypeError as err:
        if kind not in ("VARCHAR", "JSON"):
            raise ValueError(f"a value of column {name} is not a {kind}: {err}") from err
        texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
        return pa.array(texts, pa.string())
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as err:
        raise ValueError(f"a value of column {name} is not a {kind}: {err}") from err


def _require_counts(array: pa.Array) -> None:
    """Check the magnitude of counts; raises ValueError."""
    least, most = pc.min_max(array).as_py().values()
    if least is not None and not -LARGEST_COUNT <= least <= most <= LARGEST_COUNT:
        raise ValueError(f"a count has to be between -{LARGEST_COUNT} and {LARGEST_COUNT}")


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
        table=table.relation,
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
    return "insert_arrow" if _has_rows(connection, table) else "insert_arrow_into_empty"


def _has_rows(connection: Connection, table: Table) -> bool:
    return bool(connection.execute(statement("fold", "first_row", table=table.relation)).fetchall())


def _on_conflict(table: Table) -> str:
    names = [name for name in table.column_names if name not in table.primary_key]
    if not names:
        return "NOTHING"
    existing, incoming = (", ".join(f"{owner}.{name}" for name in names) for owner in (table.name, "excluded"))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"UPDATE SET {updates} WHERE row({incoming}) > row({existing})"


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
        _fill_powers(connection, parts)
        _fill_mean_powers(connection, parts)
        write_state(connection, _STATE, "current")


def _fill_powers(connection: Connection, parts: Mapping[str, str]) -> None:
    """Compute what families of tests can find, for the sizes of families and numbers of items that are new."""
    connection.execute(statement("fold", "forget_powers", **parts))
    rows = [
        {
            "n_family": n_family,
            "n_items": n_items,
            "n_changed": n_changed,
            "quantile": two_sided_quantile(n_family),
            "fewest_items": fewest_changed(n_tests=n_family, test="tango"),
            "fewest_clusters": fewest_changed(n_tests=n_family, test="mcnemar_mid_p"),
            "detectable_difference": detectable_difference_of_items(
                n_items, n_changed / n_items, n_tests=n_family, test="tango"
            )
            if n_items
            else None,
        }
        for n_family, n_items, n_changed in connection.execute(statement("fold", "missing_powers", **parts)).fetchall()
    ]
    if rows:
        insert_rows(connection, declared_tables()["test_powers"], rows)


def _fill_mean_powers(connection: Connection, parts: Mapping[str, str]) -> None:
    """Compute what answers about means over variants can find, for the answers and sizes of families that are new."""
    connection.execute(statement("fold", "forget_mean_powers", **parts))
    missing = connection.execute(statement("fold", "missing_mean_powers", **parts)).fetchall()
    rows = [
        {
            "question_id": question_id,
            "n_family": n_family,
            "detectable_difference": detectable_difference_of_mean(
                ErrorParts(*(error**2 for error in errors)),
                ErrorNumbers(n_seeds, n_baseline_seeds or 0, n_clusters),
                claim=claim,
                n_tests=n_family,
            )
            if any(errors) and None not in errors
            else None,
        }
        for question_id, n_family, claim, n_seeds, n_baseline_seeds, n_clusters, *errors in missing
    ]
    if rows:
        insert_rows(connection, declared_tables()["mean_powers"], rows)


def refresh_all(connection: Connection) -> None:
    """Compute the materialized tables from all rows, old and new; nothing follows from tables without rows."""
    rows = connection.execute(statement("fold", "change_keys")).fetchall()
    every_table = frozenset(table for tables in dependencies().values() for table in tables)
    filled = {name for name in every_table if _has_rows(connection, declared_tables()[name])}
    refresh(connection, changed=filled, ids={str(row_id) for (row_id,) in rows})


def read_state(connection: Connection, name: str) -> str | None:
    """Return the value that an earlier fold stored under a name; None if there is none."""
    rows = connection.execute(statement("fold", "state"), {"name": name}).fetchall()
    return str(rows[0][0]) if rows else None


def write_state(connection: Connection, name: str, value: str) -> None:
    """Store a value under a name for later folds."""
    connection.execute(statement("fold", "note_state"), {"name": name, "value": value})
