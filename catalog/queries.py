"""The queries of a user: built-in ones by name, SQL or a file; and values of their parameters."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.results import QueryResult, Row, visible
from catalog.sql_files import (
    NamedQuery,
    ParameterValue,
    check_values,
    find_query,
    list_queries,
    named_query,
    parse_parameters,
    read_query,
    statement,
    warn_of_deprecated_views,
)
from catalog.store import Catalog
from catalog.store.item_answers import ArrowTable
from catalog.stored_names import found_id, lookup_in
from catalog.terminal import SHORT_ID
from catalog.terminal.columns import has_interval, interval_owners
from catalog.terminal.result_table import render
from mlprune.counted import counted
from mlprune.deprecation import warn_deprecated
from mlprune.errors import QueryError, unknown
from mlprune.vocabulary import traits_of

ID_COLUMNS: Mapping[str, tuple[str, str]] = {
    "evaluation_id": ("evaluations", "evaluation_id"),
    "baseline_evaluation_id": ("evaluations", "evaluation_id"),
    "variant_id": ("variants", "variant_id"),
    "baseline_id": ("variants", "variant_id"),
    "run_id": ("runs", "run_id"),
    "environment_id": ("environments", "environment_id"),
    "protocol_id": ("metrics", "protocol_id"),
}
"""Parameter -> table and column with the ids that it may have."""
VARIANTS = ("variant_id", "baseline_id")
"""Parameters whose value may also be a label or a name of a variant."""
DENSE = "dense"
"""Baseline that stands for the dense model of every base model."""
MIN_BEGINNING = 4
"""Fewest digits that stand for an id."""
MAX_LISTED = 5
"""Maximum number of ids that an error lists."""
_ID = re.compile(r"[0-9a-f]{20}")
EVALUATED = ("task", "split", "metric", "language", "scoring_rule")
"""Parameters that select evaluations, in the order in which a message checks them."""
FOLLOWS_STORE = ("task", "split", "metric", "language")
"""Parameters whose default is the only value of the store, if the store does not have the default of the query."""
MAX_LISTED_VALUES = 12
"""Maximum number of values that a message lists."""
__all__ = [
    "Answer",
    "ArrowAnswer",
    "NamedQuery",
    "answer_named_query",
    "answer_query",
    "answer_user_query",
    "find_query",
    "interval_owners_of",
    "is_sql",
    "list_queries",
    "named_query",
    "read_artefact_tables",
    "read_query",
    "render",
    "run_user_query",
]
_BARE_WORD = re.compile(r"[\w.-]+")


def complete_ids(catalog: Catalog, values: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Replace the beginning of exactly one id by that id, and a label or name of a variant by its id.

    Other values are kept.

    Raises:
        QueryError: several ids begin so.
        StoreError: several variants have the name.
    """
    completed = dict(values)
    for parameter in VARIANTS:
        name = values.get(parameter)
        if isinstance(name, str) and (parameter, name) != ("baseline_id", DENSE):
            lookup = lookup_in(catalog, "variant")
            if any(stored.name == name for stored in lookup(name)):
                completed[parameter] = found_id("variant", name, lookup)
    for name in ID_COLUMNS.keys() & values.keys():
        beginning = completed[name]
        if not isinstance(beginning, str) or len(beginning) < MIN_BEGINNING:
            continue
        table, column = ID_COLUMNS[name]
        sql = statement("parameters", "ids_with_beginning", table=table, column=column)
        ids = [row[0] for row in catalog.select(sql, {"beginning": beginning}).rows]
        if len(ids) > 1 and beginning not in ids:
            more = f" and {len(ids) - MAX_LISTED} more" if len(ids) > MAX_LISTED else ""
            expected = f"one of {', '.join(ids[:MAX_LISTED])}{more}"
            raise QueryError("several ids begin with this", parameter=name, got=beginning, expected=expected)
        completed[name] = ids[0] if len(ids) == 1 else beginning
    return completed


def short_id_length(catalog: Catalog, result: QueryResult) -> int:
    """Return the number of digits, at least 8, that tell each id of a result from all other ids of the store."""
    ids = {value for row in result.rows for value in row if isinstance(value, str) and _ID.fullmatch(value)}
    if not ids:
        return SHORT_ID
    sql = statement("parameters", "short_id_length")
    length: int = catalog.select(sql, {"ids": sorted(ids), "least": SHORT_ID}).rows[0][0]
    return length


def interval_owners_of(catalog: Catalog, sql: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the low end of each interval in the result of a user's SQL -> the column that it belongs to.

    Only tables and views can tell: those that the statement names have to agree.

    Args:
        columns: of the result.
    """
    if not has_interval(columns):
        return {}
    words = sorted(set(re.findall(r"\w+", sql.lower())))
    numbers = [row["columns"] for row in catalog.query(statement("parameters", "number_columns"), {"names": words})]
    owners: dict[str, set[str | None]] = {}
    for names in numbers:
        known = interval_owners(names)
        for low in filter(names.__contains__, columns):
            owners.setdefault(low, set()).add(known.get(low))
    return {low: owner for low, (owner, *others) in owners.items() if owner is not None and not others}


def store_defaults(
    catalog: Catalog, values: Mapping[str, ParameterValue], *, given: Collection[str], is_ranking: bool = False
) -> dict[str, ParameterValue]:
    """Return the parameters whose default the store does not have, with the only value that it has instead.

    Metrics that an evaluation has to ask for, such as divergences, are not counted.

    Args:
        values: value of each parameter of the query.
        given: parameters whose values the user gave; these are kept.
        is_ranking: whether the query reads rank consistencies, which not every task has.
    """
    if not any(name in values and name not in given for name in FOLLOWS_STORE):
        return {}
    stored = ([*catalog.query(statement("parameters", "ranked"))] if is_ranking else []) or _evaluated(catalog)
    rows = _matching(stored, {name: values[name] for name in given if name in values})
    if "task" not in given:
        rows = _matching(rows, {"metric": values.get("metric")}) or rows
    replaced: dict[str, ParameterValue] = {}
    for name in (name for name in FOLLOWS_STORE if values.get(name) is not None):
        known = {row[name] for row in rows}
        usual = {value for value in known if name != "metric" or not traits_of(value).key} or known
        if values[name] not in known and name not in given and len(usual) == 1:
            replaced[name] = usual.pop()
        rows = _matching(rows, {name: replaced.get(name, values[name])}) or rows
    return replaced


def require_evaluated(catalog: Catalog, given: Mapping[str, ParameterValue]) -> None:
    """Check that the tasks, splits, metrics, languages and rules that a program asks for occur in an evaluation.

    Raises:
        QueryError: one does not.
    """
    evaluated = _evaluated(catalog)
    for name in EVALUATED:
        value = given.get(name)
        known = _distinct(evaluated, name)
        if isinstance(value, str) and value not in known:
            raise unknown(name, value, known, error=QueryError, n_nearest=3)


def explain_no_rows(catalog: Catalog, values: Mapping[str, ParameterValue], *, row: str) -> str:
    """Return one line that names the parameters that match nothing, and what the store has instead.

    Args:
        values: value of each parameter of the query.
        row: what there is one row for.
    """
    for name in (name for name in ID_COLUMNS if values.get(name) not in (None, DENSE)):
        table, column = ID_COLUMNS[name]
        sql = statement("parameters", "count_id", table=table, column=column)
        n_ids, is_known = catalog.select(sql, {"id": values[name]}).rows[0]
        if not is_known:
            return f"No rows for {name}={values[name]}; the store has {n_ids} ids in table {table}, but not this one"
    rows = evaluated = _evaluated(catalog)
    names = [name for name in EVALUATED if values.get(name) is not None]
    for position, name in enumerate(names):
        matching = _matching(rows, {name: values[name]})
        if not matching:
            settings = {other: values[other] for other in names[: position + 1]}
            return f"No rows{_format(settings)}; the store has {_describe(rows, name) or 'no evaluations'}"
        rows = matching
    content = f"; the store has {_describe(evaluated, 'task')}" if names else ""
    return f"No rows{_format(values)}; the query returns {row}{content}"


def _format(values: Mapping[str, ParameterValue]) -> str:
    texts = [f"{name}={value}" for name, value in values.items() if value not in (None, False)]
    return f" for {', '.join(texts)}" if texts else ""


def _evaluated(catalog: Catalog) -> list[Row]:
    return [*catalog.query(statement("parameters", "evaluated"))]


def _matching(rows: Sequence[Row], values: Mapping[str, ParameterValue]) -> list[Row]:
    """Return the rows that have the values; a value that is None, or of another kind of parameter, matches all."""
    wanted = {name: value for name, value in values.items() if name in EVALUATED and value is not None}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _describe(rows: Sequence[Row], name: str) -> str:
    """List the values of a column; tasks with their splits, as in `facts (dev, test), xnli (dev)`."""
    if name in ("task", "split"):
        texts = [
            f"{task} ({', '.join(_distinct(_matching(rows, {'task': task}), 'split'))})"
            for task in _distinct(rows, "task")
        ]
    else:
        texts = _distinct(rows, name)
    more = f" and {len(texts) - MAX_LISTED_VALUES} more" if len(texts) > MAX_LISTED_VALUES else ""
    label = "" if name in ("task", "split") else f"{name} "
    return label + ", ".join(texts[:MAX_LISTED_VALUES]) + more if texts else ""


def _distinct(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({str(row[name]) for row in rows})


@dataclass(frozen=True)
class Answer:
    """The result of a user's query."""

    result: QueryResult
    notes: tuple[str, ...]
    """Lines for the user: defaults that follow from the store, and last the reason for an empty result."""
    first: tuple[str, ...] = ()
    """Columns of most interest."""
    folded: tuple[str, ...] = ()
    """Columns that may have several lines, see `NamedQuery`."""
    is_user_sql: bool = False
    """Whether a user wrote the statement."""
    interval_owners: Mapping[str, str] | None = None
    """Of the SQL of a user: see `interval_owners_of`."""


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
        return explain_no_rows(catalog, self.values, row=self.query.row)


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
        raise QueryError("the query is empty", expected="SQL, a .sql file, or a name from mlprune query --topics")
    if is_sql(text):
        warn_of_deprecated_views(text)
        result = catalog.select(text, parse_parameters(pairs))
        no_rows = () if result.rows else (f"No rows; the columns are {', '.join(result.columns)}",)
        notes = (*_warnings(catalog), *no_rows)
        known = interval_owners_of(catalog, text, result.columns)
        return Answer(result, notes, is_user_sql=True, interval_owners=known)
    name = text.strip()
    is_file = name.endswith(".sql")
    query = read_query(Path(name)) if is_file else find_query(name)
    if is_file:
        warn_of_deprecated_views(query.sql)
    values = parse_parameters(pairs, query.parameters, query=query.name)
    given = {pair.partition("=")[0] for pair in pairs}
    ready = _prepared(catalog, query, values, given=given, may_follow_store=not is_file)
    result = catalog.select(query.sql, query.bound(ready.values), tables=ready.tables)
    notes = ready.notes if result.rows else (*ready.notes, ready.no_rows(catalog))
    owners = interval_owners_of(catalog, query.sql, result.columns) if is_file else None
    return Answer(result, notes, first=query.first, folded=query.folded, is_user_sql=is_file, interval_owners=owners)


def answer_named_query(catalog: Catalog, name: str, values: Mapping[str, ParameterValue]) -> ArrowAnswer:
    """Run a named query with values of a program; see `answer_user_query` for defaults and errors.

    Args:
        values: parameter -> value; None is NULL.
    """
    return answer_query(catalog, find_query(name), values)


def answer_query(catalog: Catalog, query: NamedQuery, values: Mapping[str, ParameterValue]) -> ArrowAnswer:
    """Run a query with values of a program; see `answer_named_query`."""
    checked = check_values(values, query.parameters, query=query.name)
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
    if query.deprecated is not None:
        warn_deprecated(f"query {query.name}", query.deprecated, stacklevel=2)
    replaced = store_defaults(catalog, values, given=given, is_ranking=query.is_ranking) if may_follow_store else {}
    completed = complete_ids(catalog, {**values, **replaced})
    reason = "that has rank consistencies" if query.is_ranking else "in the store"
    reasons = {"metric": "that these evaluations always have"}
    notes = (f"{name}={value}: the only {name} {reasons.get(name, reason)}" for name, value in replaced.items())
    tables = read_artefact_tables(catalog, query, completed)
    return _Prepared(query, completed, tables, (*_warnings(catalog), *notes))


def _warnings(catalog: Catalog) -> tuple[str, ...]:
    """Return a warning if records have rows that may make an answer wrong."""
    paths = catalog.records_with_wrong_rows()
    if not paths:
        return ()
    records = f"{counted(len(paths), 'record')} with doubled or foreign rows, such as {visible(paths[0])}"
    return (f"warning: answers may be wrong: {records}; mlprune check store names them",)


def read_artefact_tables(
    catalog: Catalog, query: NamedQuery, values: Mapping[str, ParameterValue]
) -> dict[str, ArrowTable]:
    """Return name -> table of the artefact tables that a query reads.

    Raises:
        QueryError: a record has no such files, or one is missing or damaged.
    """
    return {table.name: catalog.artefact_table(table.folder, str(values[table.parameter])) for table in query.reads}
