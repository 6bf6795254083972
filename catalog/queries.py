"""Named queries, their parameters, and questions typed by a user: a name, SQL, or a file of their own."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.results import QueryResult, render
from catalog.sql_files import SqlFile, sql_files
from catalog.store import Catalog
from mlprune.errors import QueryError, unknown

__all__ = [
    "NamedQuery",
    "Parameter",
    "ask",
    "find_query",
    "is_sql",
    "list_queries",
    "named_query",
    "parse_parameters",
    "read_query",
    "render",
]

_PARAMETER = re.compile(r"^\$(\w+) ([A-Z]+)(?: = (.+))?$")
_READS = re.compile(r"^reads (\w+) from (\w+) of \$(\w+)$")
_BARE_WORD = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Parameter:
    """A `$name` of a named query."""

    name: str
    type: str
    """VARCHAR, DOUBLE, INTEGER or BOOLEAN."""
    default: Any = None
    required: bool = False
    """Whether it has no default; a default may be NULL."""

    def __str__(self) -> str:
        return f"${self.name} {self.type}" + ("" if self.required else f" = {json.dumps(self.default)}")


@dataclass(frozen=True)
class ArtefactTable:
    """A table that a query reads and that is no table of the catalog: Parquet files of one record."""

    name: str
    """What the query calls it."""
    folder: str
    """Where in the store the files are."""
    parameter: str
    """The parameter that is the id of their record."""

    def __str__(self) -> str:
        return f"{self.name} from {self.folder} of ${self.parameter}"


@dataclass(frozen=True)
class NamedQuery:
    """A query file."""

    name: str
    description: str
    """What one row means, on one line."""
    parameters: tuple[Parameter, ...]
    sql: str
    reads: tuple[ArtefactTable, ...] = ()

    def bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the statement itself has a place for; the others only say what it reads."""
        statement = "\n".join(line for line in self.sql.splitlines() if not line.startswith("--"))
        return {name: value for name, value in values.items() if re.search(rf"\${name}\b", statement)}

    @property
    def summary(self) -> str:
        """The first sentence of the description."""
        return re.split(r"\. (?=[A-Za-z])", self.description)[0].removesuffix(".")


def list_queries() -> list[NamedQuery]:
    """All named queries, by name."""
    return [_parsed(file) for file in sql_files("queries")]


def find_query(name: str) -> NamedQuery:
    """A named query with its parameters.

    Raises:
        QueryError: there is none of that name; says which is nearest.
    """
    queries = {query.name: query for query in list_queries()}
    if name not in queries:
        raise unknown("query", name, sorted(queries), error=QueryError)
    return queries[name]


def named_query(name: str) -> str:
    """The SQL of a named query; see `find_query` for the error."""
    return find_query(name).sql


def read_query(path: Path) -> NamedQuery:
    """A query of the user's own: a file like those of the package, whose opening comment may declare parameters.

    Raises:
        QueryError: the file cannot be read.
    """
    try:
        return _parsed(SqlFile(path.stem, path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as err:
        raise QueryError("the query's file cannot be read", path=str(path), reason=str(err)) from err


def is_sql(text: str) -> bool:
    """Whether a user's text is SQL: neither a single bare word, the name of a query, nor a path that ends in `.sql`."""
    return _BARE_WORD.fullmatch(text.strip()) is None and not text.strip().endswith(".sql")


def ask(catalog: Catalog, text: str, pairs: Sequence[str] = ()) -> QueryResult:
    """Answer a user's question.

    Args:
        text: SQL, the name of a query, or the path of a file that ends in `.sql`.
        pairs: parameters as `name=value`.
    Raises:
        QueryError: the text is empty; see `find_query`, `read_query`, `parse_parameters` and `Catalog.select`.
    """
    if not text.strip():
        raise QueryError("there is no question", expected="SQL, a .sql file, or a name of mlprune query --list")
    if is_sql(text):
        return catalog.select(text, parse_parameters(pairs))
    name = text.strip()
    query = read_query(Path(name)) if name.endswith(".sql") else find_query(name)
    values = parse_parameters(pairs, query)
    lent = {one.name: catalog.artefact_table(one.folder, values[one.parameter]) for one in query.reads}
    return catalog.select(query.sql, query.bound(values), tables=lent)


def parse_parameters(pairs: Sequence[str], query: NamedQuery | None = None) -> dict[str, Any]:
    """Values by parameter name.

    For a named query each value has the declared type and missing ones their defaults. For SQL a value that reads as
    a number, true, false or null is one, and anything else is text; double quotes make text of it.

    Raises:
        QueryError: a pair is not `name=value`, a name is given twice, is unknown or missing, a value has not its type.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise QueryError("not a parameter", expected="name=value", got=pair)
        if name in texts:
            raise QueryError("a parameter is given twice", got=name)
        texts[name] = value
    if query is None:
        return {name: _guessed(value) for name, value in texts.items()}
    return _typed(texts, query)


def _typed(texts: Mapping[str, str], query: NamedQuery) -> dict[str, Any]:
    known = {parameter.name: parameter for parameter in query.parameters}
    if unknown := sorted(set(texts) - set(known)):
        raise QueryError("a parameter is unknown", query=query.name, expected=sorted(known), got=unknown)
    missing = [name for name, parameter in known.items() if parameter.required and name not in texts]
    if missing:
        raise QueryError("a parameter is missing", query=query.name, expected=missing, got=sorted(texts))
    return {
        name: _converted(texts[name], parameter) if name in texts else parameter.default
        for name, parameter in known.items()
    }


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "VARCHAR": str,
    "DOUBLE": float,
    "INTEGER": int,
    "BOOLEAN": _boolean,
}
"""Type in a query file -> how a user's text becomes a value."""


def _converted(text: str, parameter: Parameter) -> Any:
    try:
        return CONVERTERS[parameter.type](text)
    except (ValueError, KeyError) as err:
        raise QueryError(
            "a parameter has the wrong type", name=parameter.name, expected=parameter.type, got=text
        ) from err


def _guessed(text: str) -> Any:
    """A value without a declared type: a JSON number, truth value, null or string, else the text as it is."""
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, list | dict) else value


def _parsed(file: SqlFile) -> NamedQuery:
    parameters = []
    for line in file.comment:
        if match := _PARAMETER.match(line):
            name, kind, default = match.groups()
            parameters.append(Parameter(name, kind, _default(default), required=default is None))
    reads = tuple(ArtefactTable(*match.groups()) for line in file.comment if (match := _READS.match(line)))
    return NamedQuery(file.name, file.description, tuple(parameters), file.text, reads)


def _default(text: str | None) -> Any:
    """The value of a default, written as in SQL."""
    if text is None or text == "NULL":
        return None
    return text[1:-1] if text.startswith("'") else json.loads(text)
