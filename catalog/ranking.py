"""Variants ranked over data sets: average ranks, Friedman's test and Nemenyi's critical difference.

A data set is a task in a language; the values are those of the named query `values_by_variant`. The arithmetic is in
`mlprune/numeric/evaluation/rank_consistency.py`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from catalog.queries import find_query
from catalog.results import QueryResult
from catalog.store import Catalog
from mlprune.errors import QueryError
from mlprune.numeric.evaluation.rank_consistency import friedman, nemenyi_difference
from mlprune.vocabulary import METRIC_TRAITS

COLUMNS = (
    "base_model_id",
    "label",
    "average_rank",
    "mean_value",
    "differs_from_best",
    "n_variants",
    "n_data_sets",
    "friedman_statistic",
    "friedman_p_value",
    "critical_difference",
    "n_incomplete",
    "variant_id",
)
"""`n_incomplete` variants of the base model lack some data set and are not ranked."""


def rank_variants(
    catalog: Catalog,
    tasks: Sequence[str],
    *,
    metric: str = "accuracy",
    split: str = "test",
    scoring_rule: str | None = None,
    protocol_id: str | None = None,
    alpha: float = 0.05,
) -> QueryResult:
    """One row per variant, the best of a base model first.

    Args:
        tasks: their languages together are the data sets.
        scoring_rule: None for the usual one of each task.
        protocol_id: None for the default protocol of each task.
    Raises:
        QueryError: a base model has fewer than two variants that were evaluated on two or more common data sets.
        BadInputError: alpha is not in (0, 1).
    """
    query = find_query("values_by_variant")
    options = {"metric": metric, "split": split, "scoring_rule": scoring_rule, "protocol_id": protocol_id}
    found = [row for task in tasks for row in catalog.query(query.sql, {"task": task, **options})]
    if not found:
        raise QueryError("nothing was measured so", tasks=list(tasks), **options)
    rows: list[tuple[Any, ...]] = []
    for base_model in sorted({row["base_model_id"] for row in found}):
        rows += _ranked([row for row in found if row["base_model_id"] == base_model], metric=metric, alpha=alpha)
    return QueryResult(COLUMNS, tuple(rows))


def _ranked(found: list[dict[str, Any]], *, metric: str, alpha: float) -> list[tuple[Any, ...]]:
    """The rows of one base model."""
    data_sets = sorted({(row["task"], row["language"]) for row in found})
    values: dict[str, dict[tuple[str, str], float]] = {}
    names = {row["variant_id"]: row["label"] for row in found}
    for row in found:
        values.setdefault(row["variant_id"], {})[row["task"], row["language"]] = row["value"]
    complete = [variant for variant, own in sorted(values.items()) if len(own) == len(data_sets)]
    if len(complete) < 2 or len(data_sets) < 2:
        expected = "two variants evaluated on the same two or more data sets"
        raise QueryError("too little to rank", expected=expected, got=f"{len(complete)} on {len(data_sets)}")
    table = np.array([[values[variant][data_set] for variant in complete] for data_set in data_sets])
    test = friedman(table if METRIC_TRAITS[metric].higher_is_better else -table)
    difference = nemenyi_difference(len(complete), len(data_sets), alpha=alpha)
    best = float(test.average_ranks.min())
    rows = []
    for place in np.argsort(test.average_ranks, kind="stable").tolist():
        rank = float(test.average_ranks[place])
        own = (names[complete[place]], rank, float(table[:, place].mean()), rank - best > difference)
        shared = (len(complete), len(data_sets), test.statistic, test.p_value, difference, len(values) - len(complete))
        rows.append((found[0]["base_model_id"], *own, *shared, complete[place]))
    return rows
