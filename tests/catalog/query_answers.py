"""Rows that named queries of the catalog answer with."""

from typing import Any

from catalog.queries import run_user_query
from catalog.store import Catalog


def answers(catalog: Catalog, name: str, *pairs: str) -> list[dict[str, Any]]:
    """Return the rows of a query.

    Args:
        pairs: parameters as on the command line, such as `task=facts`.
    """
    return run_user_query(catalog, name, pairs).as_dicts()
