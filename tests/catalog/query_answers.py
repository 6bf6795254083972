"""Rows that named queries of the catalog answer with."""

from contextlib import suppress
from typing import Any

from catalog.queries import run_user_query
from catalog.results import QueryResult
from catalog.sql_files import list_queries
from catalog.store import Catalog
from mlprune.errors import QueryError

IDS = """
    SELECT
        min(e.evaluation_id) FILTER (NOT v.is_dense) AS evaluation_id,
        min(e.variant_id) FILTER (NOT v.is_dense) AS variant_id,
        min(e.evaluation_id) FILTER (v.is_dense) AS baseline_evaluation_id,
        (SELECT min(environment_id) FROM environments) AS environment_id
    FROM evaluations AS e
    JOIN described_variants AS v ON v.variant_id = e.variant_id
    WHERE e.task = 'facts' AND e.language = 'sw' AND e.split = 'test' AND (v.is_dense OR v.set_kind IS NOT NULL)
"""
"""A value of every parameter that a query needs."""


def answers(catalog: Catalog, name: str, *pairs: str) -> list[dict[str, Any]]:
    """Return the rows of a query.

    Args:
        pairs: parameters as on the command line, such as `task=facts`.
    """
    return run_user_query(catalog, name, pairs).as_dicts()


def all_answers(catalog: Catalog) -> dict[str, QueryResult]:
    """Return the answers of all named queries with their defaults, without those that read files the store lacks."""
    (ids,) = catalog.query(IDS)
    found = {}
    for query in list_queries():
        pairs = [f"{one.name}={ids[one.name]}" for one in query.parameters if one.required]
        with suppress(QueryError):
            found[query.name] = run_user_query(catalog, query.name, pairs)
    return found
