"""The schema as the `.sql` files declare it: tables, views, macros, and meanings of columns.

The schema: tables as their `.sql` files declare them, with primary keys, foreign keys and the meaning of columns.

There is one file per table. A column's line ends in a comment with its meaning. `-> variants: ...` at the start of the
comment declares a foreign key to the primary key of `variants`. `-> records.id: ...` also names the column, because
that table has several columns in its primary key.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from types import MappingProxyType
from typing import NamedTuple

from catalog.sql_files import SqlFile, sql_files
from mlprune.languages import languages_with_resource_class
from mlprune.vocabulary import CLAIMS

SCHEMA_VERSION = 14
"""Version of the catalog file. Earlier versions of this package leave a file of a later one alone: raise it in a
release whose tables they must not replace."""
_COLUMN = re.compile(r"^    (\w+) ([A-Z]+(?:\[\])?),\s+-- (?:-> (\w+)(?:\.(\w+))?: )?(.+)$", re.MULTILINE)
_PRIMARY_KEY = re.compile(r"^    PRIMARY KEY \((.+)\)$", re.MULTILINE)
_LITERAL = re.compile(r"'[^']*'")
_SELECT = re.compile(r"^SELECT\b", re.MULTILINE)


class Meaning(NamedTuple):
    """What a column means, and which relation states it."""

    text: str
    relation: str


NO_MEANING = Meaning("", "")


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
    def relation(self) -> str:
        """Name in SQL."""
        return self.file.relation

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)


@cache
def schema_hash() -> str:
    """Return the SHA-256 of the statements of all tables; a catalog file with another one is filled again."""
    statements = [file.statement for folder in ("schema", "materialized", "parts") for file in sql_files(folder)]
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()


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


def _table(file: SqlFile) -> Table:
    columns = tuple(Column(name, kind, meaning) for name, kind, _, _, meaning in _COLUMN.findall(file.text))
    key = _PRIMARY_KEY.search(file.text)
    return Table(file.name, columns, tuple(key[1].split(", ")) if key else (), file)


def _single_key_column(table: str) -> str:
    names = declared_tables()[table].primary_key
    if len(names) != 1:
        raise ValueError(f"a foreign key to {table} must name one of the columns {names}")
    return names[0]


def in_dependency_order(files: Mapping[str, SqlFile]) -> dict[str, SqlFile]:
    """Sort statements so that each comes after those whose names occur in it; ties by name.

    Raises:
        graphlib.CycleError: two statements read each other.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(files):
        words = set(re.findall(r"\w+", files[name].statement))
        sorter.add(name, *sorted(words & files.keys() - {name}))
    sorter.prepare()
    ordered: dict[str, SqlFile] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        ordered |= {name: files[name] for name in ready}
        sorter.done(*ready)
    return ordered


@cache
def views() -> Mapping[str, SqlFile]:
    """View name -> file, each after the views that it reads. `{languages}` becomes the rows of the language table, and
    `{claim_titles}` the title of a question of each claim."""
    files = {}
    for file in sql_files("views"):
        text = file.text.replace("{languages}", _language_rows()).replace("{claim_titles}", _claim_titles())
        files[file.name] = SqlFile(file.name, text)
    return MappingProxyType(in_dependency_order(files))


def _claim_titles() -> str:
    """Return the title of a question as an SQL expression of its claim and of columns."""
    cases = []
    for claim, words in CLAIMS.items():
        parts = re.split(r"\{(\w+)\}", words.title)  # texts and names of columns in turn
        values = ", ".join(part if place % 2 else f"'{part}'" for place, part in enumerate(parts))
        cases.append(f"WHEN '{claim}' THEN concat({values})")
    return f"CASE claim {' '.join(cases)} END"


def _language_rows() -> str:
    """Rows of (language, script, resource class, name), as SQL."""
    rows = languages_with_resource_class()
    return ", ".join(f"('{tag}', '{script}', {number}, '{name}')" for tag, script, number, name in rows)


@cache
def macros() -> Mapping[str, SqlFile]:
    """Return macro name -> file. A table macro is a view with an argument; it reads tables and views."""
    return MappingProxyType({file.name: file for file in sql_files("macros")})


@cache
def meanings_in(relation: str) -> Mapping[str, Meaning]:
    """Return column -> its meaning in a table or view.

    A view states the meanings of the columns that it computes. It has the others from the tables and views that it
    reads: first those of its outermost SELECT, in their order, then those of its common table expressions.
    """
    if relation in declared_tables():
        columns = declared_tables()[relation].columns
        return MappingProxyType({column.name: Meaning(column.meaning, relation) for column in columns})
    file = views()[relation]
    own = {name: Meaning(text, relation) for name, text in file.column_comments.items()}
    return MappingProxyType({**meanings_of(file), **own})


def meanings_of(file: SqlFile) -> Mapping[str, Meaning]:
    """Return column -> its meaning in the relations that a statement reads; see `meanings_in` for their order."""
    meanings: dict[str, Meaning] = {}
    for source in reversed(_sources(file)):
        meanings |= meanings_in(source)
    return meanings


def _sources(file: SqlFile) -> tuple[str, ...]:
    """Return the tables and views that a statement reads, those with the more important meanings first."""
    text = _LITERAL.sub("''", file.statement)
    outermost = max((match.start() for match in _SELECT.finditer(text)), default=0)
    words = re.findall(r"\w+", text[outermost:]) + re.findall(r"\w+", text[:outermost])
    known = declared_tables().keys() | views().keys()
    return tuple(dict.fromkeys(word for word in words if word in known and word != file.name))
