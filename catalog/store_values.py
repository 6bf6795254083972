"""Values of query parameters that occur in a store: defaults that follow from them, and why a query finds nothing."""

from collections.abc import Collection, Mapping, Sequence

from catalog.ids import ID_COLUMNS
from catalog.query_parameters import ParameterValue
from catalog.results import Row
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import QueryError, unknown

EVALUATED = ("task", "split", "metric", "language", "scoring_rule")
"""Parameters that select evaluations, in the order in which a message checks them."""
FOLLOWS_STORE = ("task", "split", "metric", "language")
"""Parameters whose default is the only value of the store, if the store does not have the default of the query."""
MAX_LISTED = 12
"""Maximum number of values that a message lists."""


def store_defaults(
    catalog: Catalog, values: Mapping[str, ParameterValue], *, given: Collection[str], is_ranking: bool = False
) -> dict[str, ParameterValue]:
    """Return the parameters whose default the store does not have, with the only value that it has instead.

    Args:
        values: value of each parameter of the query.
        given: parameters whose values the user gave; these are kept.
        is_ranking: whether the query reads rank consistencies, which not every task has.
    """
    if not any(name in values and name not in given for name in FOLLOWS_STORE):
        return {}
    stored = (_ranked(catalog) if is_ranking else []) or _evaluated(catalog)
    rows = _matching(stored, {name: values[name] for name in given if name in values})
    if "task" not in given:
        rows = _matching(rows, {"metric": values.get("metric")}) or rows
    replaced: dict[str, ParameterValue] = {}
    for name in (name for name in FOLLOWS_STORE if values.get(name) is not None):
        known = {row[name] for row in rows}
        if values[name] not in known and name not in given and len(known) == 1:
            replaced[name] = known.pop()
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


def explain_no_rows(catalog: Catalog, values: Mapping[str, ParameterValue], *, summary: str) -> str:
    """Return one line that names the parameters that match nothing, and what the store has instead.

    Args:
        values: value of each parameter of the query.
        summary: meaning of one row of the query.
    """
    for name in (name for name in ID_COLUMNS if values.get(name) is not None):
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
    return f"No rows{_format(values)}; the query returns {summary}{content}"


def _format(values: Mapping[str, ParameterValue]) -> str:
    texts = [f"{name}={value}" for name, value in values.items() if value is not None]
    return f" for {', '.join(texts)}" if texts else ""


def _evaluated(catalog: Catalog) -> list[Row]:
    return [*catalog.query(statement("parameters", "evaluated"))]


def _ranked(catalog: Catalog) -> list[Row]:
    return [*catalog.query(statement("parameters", "ranked"))]


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
    more = f" and {len(texts) - MAX_LISTED} more" if len(texts) > MAX_LISTED else ""
    label = "" if name in ("task", "split") else f"{name} "
    return label + ", ".join(texts[:MAX_LISTED]) + more if texts else ""


def _distinct(rows: Sequence[Row], name: str) -> list[str]:
    return sorted({str(row[name]) for row in rows})
