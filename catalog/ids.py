"""Ids in full and shortened: beginnings of ids as parameters of queries, and the digits that tell shown ids apart."""

import re
from collections.abc import Mapping

from catalog.query_parameters import ParameterValue
from catalog.results import QueryResult
from catalog.sql_files import statement
from catalog.store import Catalog
from catalog.terminal import SHORT_ID
from mlprune.errors import QueryError

ID_COLUMNS: Mapping[str, tuple[str, str]] = {
    "evaluation_id": ("evaluations", "evaluation_id"),
    "baseline_evaluation_id": ("evaluations", "evaluation_id"),
    "variant_id": ("variants", "variant_id"),
    "run_id": ("runs", "run_id"),
    "environment_id": ("environments", "environment_id"),
    "protocol_id": ("metrics", "protocol_id"),
}
"""Parameter -> table and column with the ids that it may have."""
MIN_BEGINNING = 4
"""Fewest digits that stand for an id."""
MAX_LISTED = 5
"""Maximum number of ids that an error lists."""

_ID = re.compile(r"[0-9a-f]{20}")


def complete_ids(catalog: Catalog, values: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Replace the beginning of exactly one id by that id; other values are kept.

    Raises:
        QueryError: several ids begin so.
    """
    completed = dict(values)
    for name in ID_COLUMNS.keys() & values.keys():
        beginning = values[name]
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
