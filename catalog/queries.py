"""Named queries and their parameters, and the queries of a user: a name, SQL, or a file."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from catalog.results import QueryResult, render
from catalog.sql_files import SqlFile, sql_files
from catalog.store import Catalog
from mlprune.errors import QueryError, unknown

__all__ = [
    "NamedQuery",
    "Parameter",
    "find_query",
    "is_sql",
    "list_queries",
    "named_query",
    "parse_parameters",
    "read_query",
    "render",
    "run_user_query",
]

_PARAMETER = re.compile(r"^\$(\w+) ([A-Z]+)(?: = (.+))?$")
_READS = re.compile(r"^reads (\w+) from (\w+) of \$(\w+)$")
_BARE_WORD = re.compile(r"[\w.-]+")

ParameterValue: TypeAlias = str | float | bool | None


@dataclass(frozen=True)
class Parameter:
    """A `$name` of a named query."""

    name: str
    type: str
    """VARCHAR, DOUBLE, INTEGER or BOOLEAN."""
    default: ParameterValue = None
    required: bool = False
    """Whether the parameter has no default. A default may be NULL."""

    def __str__(self) -> str:
        return f"${self.name} {self.type}" + ("" if self.required else f" = {json.dumps(self.default)}")


@dataclass(frozen=True)
class ArtefactTable:
    """A table that a query reads from Parquet files of one record, instead of from the catalog."""

    name: str
    """Name of the table in the query."""
    folder: str
    """Folder of the files in the store."""
    parameter: str
    """Parameter of the query that contains the id of the record."""

    def __str__(self) -> str:
        return f"{self.name} from {self.folder} of ${self.parameter}"


@dataclass(frozen=True)
class NamedQuery:
    """A query file."""

    name: str
    description: str
    """Meaning of one row, on one line."""
    parameters: tuple[Parameter, ...]
    sql: str
    reads: tuple[ArtefactTable, ...] = ()

    def bound(self, values: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """Return the values of the parameters in the statement; the others only choose the artefact tables to read."""
        statement = "\n".join(line for line in self.sql.splitlines() if not line.startswith("--"))
        return {name: value for name, value in values.items() if re.search(rf"\${name}\b", statement)}

    @property
    def summary(self) -> str:
        """The first sentence of the description."""
        return re.split(r"\. (?=[A-Za-z])", self.description)[0].removesuffix(".")


def list_queries() -> list[NamedQuery]:
    """Return all named queries, sorted by name."""
    return [_parse(file) for file in sql_files("queries")]


def find_query(name: str) -> NamedQuery:
    """Return a named query with its parameters.

    Raises:
        QueryError: there is no query with that name.
    """
    queries = {query.name: query for query in list_queries()}
    if name not in queries:
        raise unknown("query", name, sorted(queries), error=QueryError)
    return queries[name]


def named_query(name: str) -> str:
    """Return the SQL of a named query; see `find_query` for the error."""
    return find_query(name).sql


def read_query(path: Path) -> NamedQuery:
    """Read a query from a user's file, whose opening comment may declare parameters as in the files of the package.

    Raises:
        QueryError: the file cannot be read.
    """
    try:
        return _parse(SqlFile(path.stem, path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as err:
        raise QueryError("the query file cannot be read", path=str(path), reason=str(err)) from err


def is_sql(text: str) -> bool:
    """Whether a user's text is SQL, and not the name of a query (a single word) or a path that ends in `.sql`."""
    return _BARE_WORD.fullmatch(text.strip()) is None and not text.strip().endswith(".sql")


def run_user_query(catalog: Catalog, text: str, pairs: Sequence[str] = ()) -> QueryResult:
    """Run a user's query.

    Args:
        text: SQL, the name of a query, or the path of a file that ends in `.sql`.
        pairs: parameters as `name=value`.
    Raises:
        QueryError: the text is empty; see `find_query`, `read_query`, `parse_parameters` and `Catalog.select`.
    """
    if not text.strip():
        raise QueryError("the query is empty", expected="SQL, a .sql file, or a name from mlprune query --list")
    if is_sql(text):
        return catalog.select(text, parse_parameters(pairs))
    name = text.strip()
    query = read_query(Path(name)) if name.endswith(".sql") else find_query(name)
    values = parse_parameters(pairs, query)
    tables = {table.name: catalog.artefact_table(table.folder, str(values[table.parameter])) for table in query.reads}
    return catalog.select(query.sql, query.bound(values), tables=tables)


def parse_parameters(pairs: Sequence[str], query: NamedQuery | None = None) -> dict[str, ParameterValue]:
    """Parse pairs `name=value` into values by parameter name.

    For a named query, values are converted to the declared types, and missing parameters get their defaults. For SQL, a
    JSON number, true, false or null is converted, and any other value is text. A value in double quotes is always text.

    Raises:
        QueryError: a pair is not `name=value`, a name occurs twice, is unknown or missing, or a value has another type.
    """
    texts: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise QueryError("a parameter must have the form name=value", expected="name=value", got=pair)
        if name in texts:
            raise QueryError("a parameter occurs twice", got=name)
        texts[name] = value
    if query is None:
        return {name: _guess_type(value) for name, value in texts.items()}
    return _convert_all(texts, query)


def _convert_all(texts: Mapping[str, str], query: NamedQuery) -> dict[str, ParameterValue]:
    parameters = {parameter.name: parameter for parameter in query.parameters}
    if unknown_names := sorted(set(texts) - set(parameters)):
        raise QueryError("a parameter is unknown", query=query.name, expected=sorted(parameters), got=unknown_names)
    missing = [name for name, parameter in parameters.items() if parameter.required and name not in texts]
    if missing:
        raise QueryError("a parameter is missing", query=query.name, expected=missing, got=sorted(texts))
    return {
        name: _convert(texts[name], parameter) if name in texts else parameter.default
        for name, parameter in parameters.items()
    }


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


CONVERTERS: Mapping[str, Callable[[str], ParameterValue]] = {
    "VARCHAR": str,
    "DOUBLE": float,
    "INTEGER": int,
    "BOOLEAN": _boolean,
}
"""Type in a query file -> conversion of a user's text."""


def _convert(text: str, parameter: Parameter) -> ParameterValue:
    try:
        return CONVERTERS[parameter.type](text)
    except (ValueError, KeyError) as err:
        raise QueryError(
            "a parameter has the wrong type", name=parameter.name, expected=parameter.type, got=text
        ) from err


def _guess_type(text: str) -> ParameterValue:
    """Convert a text without a declared type: a JSON number, boolean, null or string, otherwise the text itself."""
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return value if value is None or isinstance(value, str | int | float) else text


def _parse(file: SqlFile) -> NamedQuery:
    parameters = []
    for line in file.comment:
        if match := _PARAMETER.match(line):
            name, kind, default = match.groups()
            parameters.append(Parameter(name, kind, _default(default), required=default is None))
    reads = tuple(ArtefactTable(*match.groups()) for line in file.comment if (match := _READS.match(line)))
    return NamedQuery(file.name, file.description, tuple(parameters), file.text, reads)


def _default(text: str | None) -> ParameterValue:
    """Parse a default, which is written as in SQL."""
    if text is None or text == "NULL":
        return None
    return text[1:-1] if text.startswith("'") else _guess_type(text)
