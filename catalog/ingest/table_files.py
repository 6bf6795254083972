"""The schema: tables as their `.sql` files declare them, with primary keys, foreign keys and the meaning of columns.

There is one file per table. A column's line ends in a comment with its meaning. `-> variants: ...` at the start of the
comment declares a foreign key to the primary key of `variants`. `-> records.id: ...` also names the column, because
that table has several columns in its primary key.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from catalog.sql_files import SqlFile, sql_files

SCHEMA_VERSION = 8
"""Version of all tables together. Raise it with every change of a table or of a materialized table's statement: a
catalog file of another version is filled again from the records."""

_COLUMN = re.compile(r"^    (\w+) ([A-Z]+(?:\[\])?),\s+-- (?:-> (\w+)(?:\.(\w+))?: )?(.+)$", re.MULTILINE)
_PRIMARY_KEY = re.compile(r"^    PRIMARY KEY \((.+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    """DuckDB's name of the type."""
    meaning: str


@dataclass(frozen=True)
class ForeignKey:
    """A column whose values are keys of rows of another table, or NULL."""

    table: str
    column: str
    parent: str
    """The other table."""
    parent_column: str


@dataclass(frozen=True)
class Table:
    """A table as its file declares it."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    """Names of its columns, in order."""
    file: SqlFile

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)


@cache
def declared_tables() -> Mapping[str, Table]:
    """Return name -> table for all tables of a catalog, sorted by name."""
    return MappingProxyType({file.name: _table(file) for file in sql_files("schema")})


@cache
def foreign_keys() -> tuple[ForeignKey, ...]:
    """Return all foreign keys, sorted by table and column.

    Raises:
        ValueError: a foreign key names no column, and the primary key of the other table does not have exactly one.
    """
    keys = []
    for table in declared_tables().values():
        for name, _, parent, column, _ in _COLUMN.findall(table.file.text):
            if parent:
                keys.append(ForeignKey(table.name, name, parent, column or _single_key_column(parent)))
    return tuple(keys)


def schema_hash() -> str:
    """Return the SHA-256 of the statements that `SCHEMA_VERSION` covers, without their comments."""
    statements = [file.statement for folder in ("schema", "materialized", "parts") for file in sql_files(folder)]
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


def _table(file: SqlFile) -> Table:
    columns = tuple(Column(name, kind, meaning) for name, kind, _, _, meaning in _COLUMN.findall(file.text))
    key = _PRIMARY_KEY.search(file.text)
    return Table(file.name, columns, tuple(key[1].split(", ")) if key else (), file)


def _single_key_column(table: str) -> str:
    names = declared_tables()[table].primary_key
    if len(names) != 1:
        raise ValueError(f"a foreign key to {table} must name one of the columns {names}")
    return names[0]
