"""Create and update the tables, views and macros of a catalog file.

The catalog is derived data: a file with tables of another version gets today's tables, which are empty, and the next
fold fills them from the records. Views and macros are made again when a file differs. `COMMENT ON` is taken from the
comments in the files, so that the meaning of a table or column is written in one place.
"""

from collections.abc import Mapping

from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.table_files import SCHEMA_VERSION, declared_tables
from catalog.ingest.transactions import Connection, transaction
from catalog.ingest.view_files import macros, views
from catalog.sql_files import SqlFile, statement
from mlprune.errors import StoreError

BOOKKEEPING = ("schema_version", "schema_objects")
"""Tables about the catalog file itself."""
STATE = "fold_state"
"""What one fold notes for the next; emptied with the tables that follow from records, and not compared."""


def is_current(connection: Connection) -> bool:
    """Whether a catalog file has the tables, views and macros of this package."""
    return _has_current_tables(connection) and _objects(connection) == _declared_objects()


def update_schema(connection: Connection) -> None:
    """Give a catalog file the tables, views and macros of this package, in one transaction.

    Tables of another version are replaced by empty ones: their records then count as not folded.

    Raises:
        StoreError: the catalog was made by a newer version of this package.
    """
    existing = _existing_tables(connection)
    version = _version(connection) if "schema_version" in existing else None
    if version is not None and version > SCHEMA_VERSION:
        raise StoreError("the catalog was made by a newer version", expected=SCHEMA_VERSION, got=version)
    is_complete = _has_current_tables(connection)
    objects = _objects(connection) if "schema_objects" in existing else {}
    if is_complete and objects == _declared_objects():
        return
    with transaction(connection):
        for kind, name in objects.keys() - _declared_objects().keys():
            connection.execute(statement("fold", "drop", what=kind, name=name))
        if not is_complete:
            for table in declared_tables().values():
                connection.execute(table.file.text)
            insert_rows(connection, declared_tables()["schema_version"], [{"version": SCHEMA_VERSION}])
        _make_views(connection)
        _write_comments(connection)
        _note_objects(connection)


def _has_current_tables(connection: Connection) -> bool:
    """Whether all tables exist, in today's version."""
    return declared_tables().keys() <= _existing_tables(connection) and _version(connection) == SCHEMA_VERSION


def _existing_tables(connection: Connection) -> set[str]:
    return {str(name) for (name,) in connection.execute(statement("fold", "existing_tables")).fetchall()}


def _version(connection: Connection) -> int | None:
    rows = connection.execute(statement("fold", "version")).fetchall()
    return int(rows[0][0]) if rows else None


def _objects(connection: Connection) -> dict[tuple[str, str], str]:
    """(kind, name) -> SHA-256 of the file that it was made from."""
    rows = connection.execute(statement("fold", "objects")).fetchall()
    return {(str(kind), str(name)): str(sha256) for kind, name, sha256 in rows}


def _declared_objects() -> dict[tuple[str, str], str]:
    """The same for the files of this package."""
    return {(kind, name): file.sha256 for kind, files in _files().items() for name, file in files.items()}


def _files() -> dict[str, Mapping[str, SqlFile]]:
    """Kind, in the words of SQL -> name -> file."""
    tables = {name: table.file for name, table in declared_tables().items()}
    return {"TABLE": tables, "VIEW": views(), "MACRO TABLE": macros()}


def _make_views(connection: Connection) -> None:
    for file in (*views().values(), *macros().values()):
        connection.execute(file.text)


def _note_objects(connection: Connection) -> None:
    connection.execute(statement("fold", "empty_table", table="schema_objects"))
    rows = [{"kind": kind, "name": name, "sha256": sha256} for (kind, name), sha256 in _declared_objects().items()]
    insert_rows(connection, declared_tables()["schema_objects"], rows)


def _write_comments(connection: Connection) -> None:
    """Write the meaning of every table, view, macro and column into the catalog."""
    for kind, files in _files().items():
        for name, file in files.items():
            text = _quoted(file.description)
            connection.execute(statement("fold", "comment_on", what=kind, name=name, comment=text))
    for table in declared_tables().values():
        for column in table.columns:
            _comment_on_column(connection, table.name, column.name, meaning=column.meaning)
    rows = connection.execute(statement("fold", "column_meanings")).fetchall()
    in_tables = {str(column): str(meaning) for column, meaning in rows}
    for view, file in views().items():
        meanings = {**in_tables, **file.column_comments}
        for (name,) in connection.execute(statement("fold", "view_columns"), {"view": view}).fetchall():
            _comment_on_column(connection, view, name, meaning=meanings.get(name, ""))


def _comment_on_column(connection: Connection, relation: str, column: str, *, meaning: str) -> None:
    names = {"what": "COLUMN", "name": f"{relation}.{column}"}
    connection.execute(statement("fold", "comment_on", **names, comment=_quoted(meaning)))


def _quoted(text: str) -> str:
    return text.replace("'", "''")
