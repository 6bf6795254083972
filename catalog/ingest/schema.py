"""Create and update the tables, views and macros of a catalog file.

The catalog is derived data. If a file has tables of another version, empty tables of the current version replace them,
and the next fold fills these from the records. Views and macros are created again when a `.sql` file has changed.
`COMMENT ON` copies the comments of the `.sql` files, so that the meaning of a table or column is written in one place.
"""

from collections.abc import Mapping

from catalog.ingest.column_meanings import NO_MEANING, meanings_in
from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.table_files import SCHEMA_VERSION, declared_tables, foreign_keys
from catalog.ingest.transactions import Connection, transaction
from catalog.ingest.view_files import macros, views
from catalog.sql_files import SqlFile, statement
from mlprune.errors import StoreError

BOOKKEEPING = ("schema_version", "schema_objects", "foreign_keys")
"""Tables about the catalog file itself."""
STATE = "fold_state"
"""Table of values that one fold stores for the next. It is emptied with the tables that are filled from records, and a
comparison of two catalogs skips it."""


def is_current(connection: Connection) -> bool:
    """Whether a catalog file has the tables, views and macros of this package."""
    return _has_current_tables(connection) and _objects(connection) == _declared_objects()


def update_schema(connection: Connection) -> None:
    """Create the tables, views and macros of this package in a catalog file, in one transaction.

    Empty tables replace those of another version, so that all records are folded again.

    Raises:
        StoreError: a newer version of this package wrote the catalog.
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
        _create_views(connection)
        _write_comments(connection)
        _store_objects(connection)


def _has_current_tables(connection: Connection) -> bool:
    """Whether all tables exist, in the current version."""
    return declared_tables().keys() <= _existing_tables(connection) and _version(connection) == SCHEMA_VERSION


def _existing_tables(connection: Connection) -> set[str]:
    return {str(name) for (name,) in connection.execute(statement("fold", "existing_tables")).fetchall()}


def _version(connection: Connection) -> int | None:
    rows = connection.execute(statement("fold", "version")).fetchall()
    return int(rows[0][0]) if rows else None


def _objects(connection: Connection) -> dict[tuple[str, str], str]:
    """Return (kind, name) -> SHA-256 of the `.sql` file that the object in the catalog was created from."""
    rows = connection.execute(statement("fold", "objects")).fetchall()
    return {(str(kind), str(name)): str(sha256) for kind, name, sha256 in rows}


def _declared_objects() -> dict[tuple[str, str], str]:
    """Return (kind, name) -> SHA-256 of the `.sql` file in this package."""
    return {(kind, name): file.sha256 for kind, files in _files().items() for name, file in files.items()}


def _files() -> dict[str, Mapping[str, SqlFile]]:
    """Return kind of object (as SQL names it) -> name -> file."""
    tables = {name: table.file for name, table in declared_tables().items()}
    return {"TABLE": tables, "VIEW": views(), "MACRO TABLE": macros()}


def _create_views(connection: Connection) -> None:
    for file in (*views().values(), *macros().values()):
        connection.execute(file.text)


def _store_objects(connection: Connection) -> None:
    connection.execute(statement("fold", "empty_table", table="schema_objects"))
    rows = [{"kind": kind, "name": name, "sha256": sha256} for (kind, name), sha256 in _declared_objects().items()]
    insert_rows(connection, declared_tables()["schema_objects"], rows)
    connection.execute(statement("fold", "empty_table", table="foreign_keys"))
    keys = [
        {"table_name": key.table, "column_name": key.column, "parent_table": key.parent}
        | {"parent_column": key.parent_column}
        for key in foreign_keys()
    ]
    insert_rows(connection, declared_tables()["foreign_keys"], keys)


def _write_comments(connection: Connection) -> None:
    """Write the meaning of every table, view, macro and column into the catalog, in one call: there are hundreds."""
    comments = [
        _comment_on(kind, name, meaning=file.description)
        for kind, files in _files().items()
        for name, file in files.items()
    ]
    for table in declared_tables().values():
        for column in table.columns:
            comments.append(_comment_on("COLUMN", f"{table.name}.{column.name}", meaning=column.meaning))
    for view, name in connection.execute(statement("fold", "view_columns")).fetchall():
        if view in views():  # not a view that a user created
            meaning = meanings_in(view).get(name, NO_MEANING)
            comments.append(_comment_on("COLUMN", f"{view}.{name}", meaning=meaning.text))
    connection.execute("".join(comments))


def _comment_on(kind: str, name: str, *, meaning: str) -> str:
    return statement("fold", "comment_on", what=kind, name=name, comment=_quoted(meaning))


def _quoted(text: str) -> str:
    return text.replace("'", "''")
