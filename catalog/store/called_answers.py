"""Answers to items that a statement reads by calls of the table macro `item_answers`."""

from collections.abc import Callable, Mapping

import pyarrow as pa

from catalog.results import Row, Value
from catalog.sql_files import statement
from catalog.store.answer_calls import MACRO, TABLE, answer_calls
from mlprune.store.store import Store


def called_answers(
    sql: str, parameters: Mapping[str, Value], *, store: Store, query: Callable[..., list[dict[str, Value]]]
) -> dict[str, pa.Table]:
    """Return the table of answers that the calls in a statement read, by its name; empty if there are no calls.

    Args:
        query: runs a statement with parameters on the catalog.
    Raises:
        QueryError: an argument of a call is wrong, or a file of predictions or items is missing or damaged.
    """
    if MACRO not in sql:
        return {}
    from catalog.store.item_answers import loaded_answers  # noqa: PLC0415 - loads the scoring rules

    calls = answer_calls(str(query(statement("answers", "parse"), {"sql": sql})[0]["tree"]), parameters)
    found: list[list[Row]] = [[*query(statement("answers", "answered"), vars(call))] for call in calls]
    evaluations = {row["evaluation_id"]: row for rows in found for row in rows}
    items = {row["id"]: row for row in query(statement("answers", "items"))} if evaluations else {}
    return {TABLE: loaded_answers(store, evaluations.values(), items=items)} if calls else {}
