"""Catalogs as earlier versions of the package left them: made from the schema files there were then."""

from pathlib import Path

import duckdb

from catalog.ingest.schema import apply
from catalog.sql_files import SqlFile, sql_files

OLD_VIEW = "CREATE OR REPLACE VIEW described_variants AS FROM variants"
"""A view of an earlier version that reads a table which a later schema file replaces."""


def schema_files() -> dict[int, SqlFile]:
    """Number -> schema file, in the order in which they are applied."""
    return {int(file.name[:4]): file for file in sql_files("schema")}


def versions() -> list[int]:
    """The numbers a catalog can stand at, but for that of today."""
    return list(schema_files())[:-1]


def make_old(connection: duckdb.DuckDBPyConnection, version: int) -> None:
    """Give an empty catalog the tables up to a schema file, a view, and a record that it has folded."""
    files = {number: file for number, file in schema_files().items() if number <= version}
    newest = {file.name[5:]: number for number, file in files.items()}
    for number, file in files.items():
        apply(connection, file, is_newest=newest[file.name[5:]] == number)
        connection.execute("INSERT INTO schema_migrations VALUES (?, ?)", [number, file.name[5:]])
    if version >= 12:
        connection.execute(OLD_VIEW)
        connection.execute("INSERT INTO view_files VALUES ('described_variants', 'of an earlier version')")
    if version >= 3:
        connection.execute("INSERT INTO records VALUES ('variants', 'folded long ago', 1, 0)")


def write_old(path: Path, version: int) -> None:
    """Write the file of such a catalog."""
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        make_old(connection, version)
