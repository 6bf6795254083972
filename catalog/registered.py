"""Declarations that were registered outside a store, compared with those of the store."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catalog.queries import answer_user_query
from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.store.store import Store

QUERY = "declarations"
FREE = frozenset({"status", "question_id"})
"""Columns that a later version may state in another way."""


def registered_differences(store: Store, path: Path) -> Iterator[str]:
    """Yield where a store differs from a file of the query `declarations` in JSON, one line each.

    Questions of the store that the file lacks were declared later, and do not count as a difference.

    Raises:
        BadInputError: the file cannot be read, or is not the result of this query.
    """
    registered = _read(path)
    with Catalog.open(store) as catalog:
        catalog.fold()
        result = answer_user_query(catalog, QUERY, []).result
        later_ids = {row["question_id"]: row["replaced_by"] for row in catalog.query("FROM internal.outdone_questions")}
    stored = {row["question_id"]: row for row in (dict(zip(result.columns, row, strict=True)) for row in result.rows)}
    for row in registered:
        name = f"question {row.get('name')} ({row['question_id']})"
        own = stored.get(later_ids.get(row["question_id"], row["question_id"]))
        if own is None:
            yield f"{name} is registered and not declared in the store"
            continue
        for column in sorted((row.keys() & own.keys()) - FREE):
            if row[column] != own[column]:
                yield f"{name} differs from the registered one in {column} (expected {row[column]}, got {own[column]})"


def _read(path: Path) -> list[dict[str, Any]]:
    expected = f"the output of mlprune query {QUERY} --format json"
    try:
        rows = json.loads(path.read_bytes())
    except (OSError, ValueError) as err:
        message = "the registered declarations cannot be read"
        raise BadInputError(message, path=str(path), expected=expected, got=str(err)) from err
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "question_id" in row for row in rows):
        raise BadInputError("the file has no declarations", path=str(path), expected=expected)
    return rows
