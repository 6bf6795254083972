"""Named queries and their parameters, and the queries of a user: a name, SQL, or a file."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.ids import complete_ids
from catalog.query_parameters import Parameter, ParameterValue, check_values, parse_default, parse_parameters
from catalog.result_formats import render
from catalog.results import QueryResult
from catalog.sql_files import SqlFile, sql_files
from catalog.store import Catalog
from catalog.store.artefact_tables import ArrowTable
from catalog.store_values import explain_no_rows, store_defaults
from mlprune.errors import QueryError, unknown

__all__ = [
    "Answer",
    "ArrowAnswer",
    "NamedQuery",
    "answer_named_query",
    "answer_user_query",
    "find_query",
    "is_sql",
    "list_queries",
    "named_query",
    "read_query",
    "render",
    "run_user_query",
]

_PARAMETER = re.compile(r"^\$(\w+) ([A-Z]+)(?: = (.+))?$")
_READS = re.compile(r"^reads (\w+) from (\w+) of \$(\w+)$")
_BARE_WORD = re.compile(r"[\w.-]+")


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


@dataclass(frozen=True)
class Answer:
    """The result of a user's query."""

    result: QueryResult
    notes: tuple[str, ...]
    """Lines for the user: defaults that follow from the store, and last the reason for an empty result."""
    is_named: bool = False
    """Whether the columns are those of a named query, and not chosen by the user."""


@dataclass(frozen=True)
class ArrowAnswer:
    """The result of a named query as an Arrow table."""

    table: ArrowTable
    sql: str
    values: Mapping[str, ParameterValue]
    """Value of each parameter, with defaults."""
    notes: tuple[str, ...]
    """As in `Answer`."""


@dataclass(frozen=True)
class _Prepared:
    """A query with everything that it needs to run."""

    query: NamedQuery
    values: Mapping[str, ParameterValue]
    tables: Mapping[str, ArrowTable]
    notes: tuple[str, ...]

    def no_rows(self, catalog: Catalog) -> str:
        """Return the reason for an empty result."""
        return explain_no_rows(catalog, self.values, summary=self.query.summary)


def list_queries() -> list[NamedQuery]:
    """Return all named queries, sorted by name."""
    return [_parse(file) for file in sql_files("queries")]


def find_query(name: str) -> NamedQuery:
    """Return a named query with its parameters.

    Raises:
        QueryError: no query has that name.
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
    """Run a user's query and return its result; see `answer_user_query`."""
    return answer_user_query(catalog, text, pairs).result


def answer_user_query(catalog: Catalog, text: str, pairs: Sequence[str] = ()) -> Answer:
    """Run a user's query.

    If the store does not have the default task, split, metric or language of a named query but only one other, that one
    is the default.

    Args:
        text: SQL, the name of a query, or the path of a file that ends in `.sql`.
        pairs: parameters as `name=value`; an id may be given by its beginning.
    Raises:
        QueryError: the text is empty; see `find_query`, `read_query`, `parse_parameters`, `complete_ids` and
            `Catalog.select`.
    """
    if not text.strip():
        raise QueryError("the query is empty", expected="SQL, a .sql file, or a name from mlprune query --list")
    if is_sql(text):
        result = catalog.select(text, parse_parameters(pairs))
        return Answer(result, () if result.rows else (f"No rows; the columns are {', '.join(result.columns)}",))
    name = text.strip()
    is_file = name.endswith(".sql")
    query = read_query(Path(name)) if is_file else find_query(name)
    values = parse_parameters(pairs, query.parameters, query=query.name)
    given = {pair.partition("=")[0] for pair in pairs}
    ready = _prepared(catalog, query, values, given=given, may_follow_store=not is_file)
    result = catalog.select(query.sql, query.bound(ready.values), tables=ready.tables)
    notes = ready.notes if result.rows else (*ready.notes, ready.no_rows(catalog))
    return Answer(result, notes, is_named=not is_file)


def answer_named_query(catalog: Catalog, name: str, values: Mapping[str, ParameterValue]) -> ArrowAnswer:
    """Run a named query with values of a program; see `answer_user_query` for defaults and errors.

    Args:
        values: parameter -> value; None is NULL.
    """
    query = find_query(name)
    checked = check_values(values, query.parameters, query=name)
    ready = _prepared(catalog, query, checked, given=values, may_follow_store=True)
    table = catalog.arrow(query.sql, query.bound(ready.values), tables=ready.tables)
    notes = ready.notes if table.num_rows else (*ready.notes, ready.no_rows(catalog))
    return ArrowAnswer(table, query.sql, ready.values, notes)


def _prepared(
    catalog: Catalog,
    query: NamedQuery,
    values: Mapping[str, ParameterValue],
    *,
    given: Collection[str],
    may_follow_store: bool,
) -> _Prepared:
    """Complete the values of a query, and read the tables that it needs.

    Args:
        given: parameters whose values the user gave.
        may_follow_store: whether other defaults may follow from the store.
    """
    is_ranking = "FROM rank_consistency" in query.sql and "FROM metrics" not in query.sql
    replaced = store_defaults(catalog, values, given=given, is_ranking=is_ranking) if may_follow_store else {}
    completed = complete_ids(catalog, {**values, **replaced})
    reason = "that has rank consistencies" if is_ranking else "in the store"
    notes = tuple(f"{name}={value}: the only {name} {reason}" for name, value in replaced.items())
    tables = {
        table.name: catalog.artefact_table(table.folder, str(completed[table.parameter])) for table in query.reads
    }
    return _Prepared(query, completed, tables, notes)


def _parse(file: SqlFile) -> NamedQuery:
    parameters = []
    for line in file.comment:
        if match := _PARAMETER.match(line):
            name, kind, default = match.groups()
            parameters.append(Parameter(name, kind, parse_default(default), required=default is None))
    reads = tuple(ArtefactTable(*match.groups()) for line in file.comment if (match := _READS.match(line)))
    return NamedQuery(file.name, file.description, tuple(parameters), file.text, reads)
