"""The queries of a user: the name of a built-in query, SQL, or a file."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.ids import complete_ids
from catalog.named_queries import NamedQuery, find_query, list_queries, named_query, read_query
from catalog.query_parameters import ParameterValue, check_values, parse_parameters
from catalog.result_formats import render
from catalog.results import QueryResult
from catalog.store import Catalog
from catalog.store.artefact_tables import ArrowTable
from catalog.store_values import explain_no_rows, store_defaults
from catalog.visible_text import visible
from mlprune.counted import counted
from mlprune.errors import QueryError

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
    "read_artefact_tables",
    "read_query",
    "render",
    "run_user_query",
]

_BARE_WORD = re.compile(r"[\w.-]+")


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
        no_rows = () if result.rows else (f"No rows; the columns are {', '.join(result.columns)}",)
        return Answer(result, (*_warnings(catalog), *no_rows))
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
    replaced = store_defaults(catalog, values, given=given, is_ranking=query.is_ranking) if may_follow_store else {}
    completed = complete_ids(catalog, {**values, **replaced})
    reason = "that has rank consistencies" if query.is_ranking else "in the store"
    notes = (f"{name}={value}: the only {name} {reason}" for name, value in replaced.items())
    tables = read_artefact_tables(catalog, query, completed)
    return _Prepared(query, completed, tables, (*_warnings(catalog), *notes))


def _warnings(catalog: Catalog) -> tuple[str, ...]:
    """Return a warning if records have rows that may make an answer wrong."""
    paths = catalog.records_with_wrong_rows()
    if not paths:
        return ()
    records = f"{counted(len(paths), 'record')} with doubled or foreign rows, such as {visible(paths[0])}"
    return (f"warning: answers may be wrong: {records}; mlprune catalog check names them",)


def read_artefact_tables(
    catalog: Catalog, query: NamedQuery, values: Mapping[str, ParameterValue]
) -> dict[str, ArrowTable]:
    """Return name -> table of the artefact tables that a query reads.

    Raises:
        QueryError: a record has no such files, or one is missing or damaged.
    """
    return {table.name: catalog.artefact_table(table.folder, str(values[table.parameter])) for table in query.reads}
