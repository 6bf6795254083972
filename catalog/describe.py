"""What a query, table, view or macro of the catalog says: its description, parameters and columns.

The texts are those of the `.sql` files, the types those of a catalog.
"""

import re
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from catalog.ingest.table_files import NO_MEANING, declared_tables, macros, meanings_in, meanings_of, views
from catalog.sql_files import INTERNAL, NamedQuery, Parameter, SqlFile, list_queries
from catalog.store import Catalog
from catalog.store.item_answers import PREDICTIONS
from mlprune.errors import QueryError, unknown
from mlprune.store.store import Store

MIN_WIDTH = 40
INTERVAL = re.compile(r"(?:(.+)_)?ci(90)?_(low|high)")
UNITS: Mapping[str, str] = {
    r".+_s": "s",
    r".+_gib": "GiB",
    r".*n_bytes": "bytes",
    r"(.+_)?p(_.+)?|q_bh|probability|.+_probability": "probability",
    r"(.+_)?(sparsity|share|jaccard|win_share|accuracy)": "fraction",
    r"n|n_.+": "count",
    r"(.+_)?(value|difference|gain|change|optimism)|(.+_)?ci(90)?_(low|high)": "as the metric",
}
"""Regular expression of a column of numbers -> its unit; the first that matches counts."""


@dataclass(frozen=True)
class ColumnText:
    """A column of a query, table or view."""

    name: str
    type: str
    """DuckDB's name of the type."""
    unit: str
    meaning: str


@dataclass(frozen=True)
class Description:
    """What there is to know about a query, table, view or macro."""

    name: str
    """Name in SQL or on the command line."""
    kind: str
    """query, table, view or macro."""
    text: str
    parameters: tuple[Parameter, ...]
    columns: tuple[ColumnText, ...]

    def lines(self, width: int) -> Iterator[str]:
        """Yield the lines of a text for people.

        Args:
            width: cells of a line.
        """
        width = max(width, MIN_WIDTH)
        how = f"FROM {self.name}" if self.kind != "query" else f"mlprune query {self.name}"
        yield f"{self.name}: {self.kind} ({how})"
        yield from textwrap.wrap(f"{self.text[:1].upper()}{self.text[1:].removesuffix('.')}.", width)
        if self.parameters:
            yield ""
            yield "Parameters (--param NAME=VALUE):"
            yield from _table([(one.name, one.type, _default(one)) for one in self.parameters], width)
        yield ""
        yield "Columns:"
        rows = [(one.name, one.type + (f", {one.unit}" if one.unit else ""), one.meaning) for one in self.columns]
        yield from _table(rows, width)


@contextmanager
def empty_catalog() -> Iterator[Catalog]:
    """Open the catalog of a store without records."""
    with tempfile.TemporaryDirectory() as folder, Catalog.in_memory(Store(folder)) as catalog:
        yield catalog


def describe(catalog: Catalog, name: str) -> Description:
    """Describe a query, or a table, view or macro, whose name may have its schema.

    A query is preferred to a table of its name.

    Args:
        catalog: any catalog of this version; see `empty_catalog`.
    Raises:
        QueryError: nothing has the name.
    """
    queries = {query.name: query for query in list_queries()}
    relations = _relations()
    plain = name.removeprefix(f"{INTERNAL}.")
    if name not in queries and plain not in relations:
        known = [*queries, *(file.relation for _, file in relations.values())]
        listing = "mlprune query --topics"
        raise unknown("query, table or view", name, known, error=QueryError, n_nearest=3, listing=listing)
    return _of_query(catalog, queries[name]) if name in queries else _of_relation(catalog, *relations[plain])


def _relations() -> dict[str, tuple[str, SqlFile]]:
    """Return name without schema -> kind and file."""
    tables = {name: ("table", table.file) for name, table in declared_tables().items()}
    return (
        tables
        | {name: ("view", file) for name, file in views().items()}
        | {name: ("macro", file) for name, file in macros().items()}
    )


def _of_query(catalog: Catalog, query: NamedQuery) -> Description:
    values = {parameter.name: parameter.default for parameter in query.parameters}
    tables = {table.name: PREDICTIONS for table in query.reads}
    schema = catalog.arrow(f"DESCRIBE\n{query.sql}", query.bound(values), tables=tables).to_pylist()
    columns = _columns(schema, {key: one.text for key, one in meanings_of(SqlFile(query.name, query.sql)).items()})
    return Description(query.name, "query", query.description, query.parameters, columns)


def _of_relation(catalog: Catalog, kind: str, file: SqlFile) -> Description:
    source = f"{file.name}('')" if kind == "macro" else file.relation
    meanings = meanings_of(file) if kind == "macro" else meanings_in(file.name)
    schema = catalog.arrow(f"DESCRIBE FROM {source}").to_pylist()
    columns = _columns(schema, {key: one.text for key, one in meanings.items()})
    return Description(file.relation, kind, file.description, (), columns)


def _columns(schema: Iterable[Mapping[str, Any]], meanings: Mapping[str, str]) -> tuple[ColumnText, ...]:
    """Return the columns of a result of DESCRIBE."""
    rows = [(str(row["column_name"]), str(row["column_type"])) for row in schema]
    return tuple(ColumnText(name, kind, _unit(name, kind), _meaning(name, meanings)) for name, kind in rows)


def _meaning(name: str, meanings: Mapping[str, str]) -> str:
    match = INTERVAL.fullmatch(name)
    if name not in meanings and match is not None and match[1]:
        end = "lower" if match[3] == "low" else "upper"
        return f"{end} end of the {match[2] or 95} % interval of {match[1]}"
    return meanings.get(name, NO_MEANING.text)


def _unit(name: str, kind: str) -> str:
    if kind not in ("DOUBLE", "BIGINT", "INTEGER", "FLOAT") and not kind.startswith(("DECIMAL", "HUGEINT")):
        return ""
    return next((unit for pattern, unit in UNITS.items() if re.fullmatch(pattern, name)), "")


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "has no default"
    default = parameter.default
    text = str(default).lower() if isinstance(default, bool) else "NULL" if default is None else default
    return f"default {text}"


def _table(rows: Iterable[tuple[str, str, str]], width: int) -> Iterator[str]:
    """Yield lines of three columns; the last one is folded, below the name if there is little room next to it."""
    rows = list(rows)
    first, second = (max(len(row[place]) for row in rows) for place in (0, 1))
    indent = 2 + first + 2 + second + 2
    for name, kind, text in rows:
        start = f"  {name:{first}}  {kind:{second}}"
        if indent <= width // 2:
            folded = textwrap.wrap(text, width - indent) or [""]
            yield f"{start}  {folded[0]}".rstrip()
            yield from (" " * indent + line for line in folded[1:])
        else:
            yield start.rstrip()
            yield from textwrap.wrap(text, width, initial_indent="      ", subsequent_indent="      ")
