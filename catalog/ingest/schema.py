"""Tables and views: which the package has, which a catalog file has, and how the second becomes the first.

Schema files are numbered and applied in order, never edited and never undone. A file that adds columns replaces its
table, which is folded again from the records afterwards: the newest file of a table's name tells all of it.
`COMMENT ON` is written from the comments in the files, so that what a table or column means is said in one place.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any, Protocol

from catalog.ingest.arrow_rows import TYPES, arrow_rows
from catalog.sql_files import SqlFile, sql_files, statement
from mlprune.errors import StoreError

BOOKKEEPING = ("schema_migrations", "view_files")
"""Tables about the catalog file itself."""
RUN_TABLES = (
    "environments",
    "environment_packages",
    "job_records",
    "runs",
    "run_ends",
    "run_environments",
    "jobs",
    "failures",
    "run_packs",
)
"""Tables folded from run files, in the order in which rows are added: a file counts as folded by its row in one of the
later ones. They are not compared when two catalogs are."""

STATE = "fold_state"
"""What one fold notes for the next; emptied with the tables that follow from records, and not compared."""
CLUSTERED = ("task", "split", "metric", "language")
"""Columns by which rows are ordered as they come in: most questions are about one task, split and metric, and whole
stretches of a table are then passed over."""

INCOMING = "incoming_rows"
"""What rows on their way into a table are called."""

_COLUMN = re.compile(r"^    (\w+) [A-Z]+(?:\[\])?,\s+-- (.+)$", re.MULTILINE)


class Connection(Protocol):
    """What the catalog needs of a DuckDB connection."""

    def execute(self, query: str, parameters: Any = None) -> Any:
        """Run a statement; the answer has `fetchall`."""

    def register(self, view_name: str, python_object: Any) -> Any:
        """Give an Arrow table a name that statements know."""

    def unregister(self, view_name: str) -> Any:
        """Forget that name."""


@dataclass(frozen=True)
class Table:
    """A table as it stands in a catalog file."""

    name: str
    columns: tuple[tuple[str, str], ...]
    """(name, type) in order."""
    keys: tuple[str, ...]
    """Columns of the primary key."""


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def tables(connection: Connection) -> dict[str, Table]:
    """The tables of a catalog file by name; those that somebody else made in it are none of ours."""
    found: dict[str, list[tuple[str, str, int]]] = {}
    for table, column, kind, place in connection.execute(statement("fold", "tables")).fetchall():
        if table in _our_tables():
            found.setdefault(table, []).append((column, kind, place or 0))
    return {
        name: Table(
            name,
            columns=tuple((column, kind) for column, kind, _ in columns),
            keys=tuple(column for column, _, place in sorted(columns, key=lambda item: item[2]) if place),
        )
        for name, columns in found.items()
    }


def is_current(connection: Connection) -> bool:
    """Whether a catalog file has the tables and views of this package."""
    if not set(BOOKKEEPING) <= set(tables(connection)):
        return False
    return _versions(connection) == set(_schema_files()) and _views(connection) == _view_files()


def migrate(connection: Connection) -> None:
    """Apply the schema files a catalog file lacks, in one transaction, and make its views again where they differ.

    Where tables of a catalog in use change, it is emptied in the same transaction: whatever happens next, the records
    count as not folded, and the next fold takes them all into the new columns.

    Raises:
        StoreError: the catalog was made by a newer version of this package.
    """
    known = _schema_files()
    applied = _versions(connection) if "schema_migrations" in tables(connection) else set()
    if newer := applied - set(known):
        raise StoreError("the catalog was made by a newer version", expected=max(known), got=max(newer))
    missing = sorted(set(known) - applied)
    with transaction(connection):
        newest = {_name(file): version for version, file in known.items()}
        for version in missing:
            file = known[version]
            apply(connection, file, is_newest=newest[_name(file)] == version)
        if missing:
            rows = [{"version": version, "name": _name(known[version])} for version in missing]
            insert_rows(connection, tables(connection)["schema_migrations"], rows)
        if missing and applied:
            _empty(connection)
        if missing or _views(connection) != _view_files():
            _make_views(connection)


def _empty(connection: Connection) -> None:
    """Remove all rows but those about the catalog file itself."""
    for name in tables(connection):
        if name not in BOOKKEEPING:
            connection.execute(statement("fold", "empty_table", table=name))


def _versions(connection: Connection) -> set[int]:
    return {version for (version,) in connection.execute(statement("fold", "schema_versions")).fetchall()}


def _views(connection: Connection) -> dict[str, str]:
    return dict(connection.execute(statement("fold", "view_versions")).fetchall())


def _schema_files() -> dict[int, SqlFile]:
    return {int(file.name.partition("_")[0]): file for file in sql_files("schema")}


@cache
def _our_tables() -> frozenset[str]:
    return frozenset(map(_name, _schema_files().values()))


def _view_files() -> dict[str, str]:
    return {name: file.sha256 for name, file in {**views(), **macros()}.items()}


def views() -> dict[str, SqlFile]:
    """View name -> file, in an order in which each reads only earlier ones: that of the files' numbers."""
    return {_name(file): file for file in sql_files("views")}


def macros() -> dict[str, SqlFile]:
    """Name -> file of the table macros: views with an argument, which read tables and views."""
    return {file.name: file for file in sql_files("macros")}


def apply(connection: Connection, file: SqlFile, *, is_newest: bool = True) -> None:
    """Make the table of a schema file, and, unless a later file replaces it, say what its rows and columns mean."""
    connection.execute(file.text)
    if not is_newest:
        return
    name = _name(file)
    for column, comment in _COLUMN.findall(file.text):
        connection.execute(statement("fold", "comment_on_column", table=name, column=column, comment=_quoted(comment)))
    _comment(connection, "TABLE", name=name, file=file)


def _name(file: SqlFile) -> str:
    """The name of the table or view: the file's without its number."""
    return file.name.partition("_")[2]


def _make_views(connection: Connection) -> None:
    connection.execute(statement("fold", "empty_table", table="view_files"))
    in_tables = dict(connection.execute(statement("fold", "column_meanings")).fetchall())
    for name, file in views().items():
        connection.execute(file.text)
        _comment(connection, "VIEW", name=name, file=file)
        _comment_on_columns(connection, name, {**in_tables, **file.column_comments})
    for name, file in macros().items():
        connection.execute(file.text)
        _comment(connection, "MACRO TABLE", name=name, file=file)
    rows = [{"view_name": name, "sha256": sha256} for name, sha256 in _view_files().items()]
    insert_rows(connection, tables(connection)["view_files"], rows)


def _comment_on_columns(connection: Connection, view: str, meanings: Mapping[str, str]) -> None:
    """Say what the columns of a view mean."""
    for (column,) in connection.execute(statement("fold", "view_columns"), {"view": view}).fetchall():
        comment = _quoted(meanings.get(column, ""))
        connection.execute(statement("fold", "comment_on_column", table=view, column=column, comment=comment))


def _comment(connection: Connection, what: str, *, name: str, file: SqlFile) -> None:
    connection.execute(statement("fold", "comment_on_table", what=what, table=name, comment=_quoted(file.description)))


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def insert_rows(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Add rows to a table in one statement; keys that are no column are left out, missing ones are NULL.

    A column of the primary key that a row lacks, because its record is older than the column, is an empty text.

    Raises:
        ValueError: a value has not the type of its column.
    """
    try:
        n_keys = len(set(map(itemgetter(*table.keys), rows)))
    except KeyError:
        rows = [{**dict.fromkeys(table.keys, ""), **row} for row in rows]
        n_keys = len(set(map(itemgetter(*table.keys), rows)))
    if any(kind not in TYPES for _, kind in table.columns):
        _insert_as_json(connection, table, rows)
        return
    text = statement(
        "fold",
        "insert_arrow" if n_keys == len(rows) else "insert_arrow_distinct",
        table=table.name,
        rows=INCOMING,
        columns=", ".join(
            f"{name}::TIMESTAMP AS {name}" if kind == "TIMESTAMP" else name for name, kind in table.columns
        ),
        order=", ".join([*(name for name in CLUSTERED if name in dict(table.columns)), *table.keys]),
        **_collision(table),
    )
    connection.register(INCOMING, arrow_rows(table.columns, rows))
    connection.execute(text)
    connection.unregister(INCOMING)  # after an error the transaction is void, and with it the name


def _insert_as_json(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """The same for a table with columns of other types, lists for instance."""
    values = [{name: row.get(name) for name, _ in table.columns} for row in rows]
    text = statement(
        "fold", "insert_rows", table=table.name, structure=json.dumps([dict(table.columns)]), **_collision(table)
    )
    connection.execute(text, {"rows": json.dumps(values)})


def _collision(table: Table) -> dict[str, str]:
    """What a statement that adds rows says about rows of equal keys."""
    return {
        "keys": ", ".join(table.keys),
        "greatest_first": ", ".join(f"{name} DESC NULLS FIRST" for name, _ in table.columns),
        "action": _on_conflict(table),
    }


def _on_conflict(table: Table) -> str:
    rest = [name for name, _ in table.columns if name not in table.keys]
    if not rest:
        return "NOTHING"
    ours, theirs = (", ".join(f"{owner}.{name}" for name in rest) for owner in (table.name, "excluded"))
    updates = ", ".join(f"{name} = excluded.{name}" for name in rest)
    return f"UPDATE SET {updates} WHERE row({theirs}) > row({ours})"
