"""Ranks of variants over data sets: average ranks, with Friedman's test in the form of Iman and Davenport.

A data set is a task in a language. The values are those of the named query `values_by_variant`. The languages of a task
share their items, so the ranks only describe. The tests of a variant over languages are those of the view `aggregates`.
"""

from collections.abc import Sequence

import numpy as np

from catalog.results import QueryResult, Row, Value
from catalog.sql_files import find_query
from catalog.store import Catalog
from mlprune.errors import QueryError
from mlprune.numeric.statistics.multiplicity import friedman
from mlprune.vocabulary import is_higher_better

COLUMNS = (
    "label",
    "average_rank",
    "mean_value",
    "n_variants",
    "n_data_sets",
    "friedman_statistic",
    "iman_davenport",
    "iman_davenport_p_value",
    "n_incomplete",
    "variant_id",
    "base_model_id",
)
"""`iman_davenport` is infinite if all data sets rank the variants equally.

`n_incomplete`: number of variants of the base model that are not ranked, because some data set has no value.
"""


NOTE = (
    "Ranks describe, they do not test: the languages of a task share their items. "
    "For tests of a variant over languages see the view aggregates."
)
"""Printed with the ranks."""


def rank_variants(
    catalog: Catalog,
    tasks: Sequence[str],
    *,
    metric: str = "accuracy",
    split: str = "test",
    scoring_rule: str | None = None,
    protocol_id: str | None = None,
) -> QueryResult:
    """Rank the variants of each base model; one row per variant, the best of a base model first.

    Args:
        tasks: each task in each of its languages is a data set.
        scoring_rule: None for the default rule of each task.
        protocol_id: None for the default protocol of each task.
    Raises:
        QueryError: no evaluation matches, or a base model has fewer than two data sets, or fewer than two variants with
            a value for every data set.
    """
    query = find_query("values_by_variant")
    options = {"metric": metric, "split": split, "scoring_rule": scoring_rule, "protocol_id": protocol_id}
    parameters = {parameter.name: parameter.default for parameter in query.parameters} | options
    measured = [row for task in tasks for row in catalog.query(query.sql, {**parameters, "task": task})]
    if not measured:
        raise QueryError("no evaluation matches", tasks=list(tasks), **options)
    rows: list[tuple[Value, ...]] = []
    for base_model in sorted({row["base_model_id"] for row in measured}):
        rows += _rank_base_model([row for row in measured if row["base_model_id"] == base_model], metric=metric)
    return QueryResult(COLUMNS, tuple(rows))


def _rank_base_model(measured: Sequence[Row], *, metric: str) -> list[tuple[Value, ...]]:
    """Rank the variants of one base model."""
    data_sets = sorted({(row["task"], row["language"]) for row in measured})
    labels = {row["variant_id"]: row["label"] for row in measured}
    values: dict[str, dict[tuple[str, str], float]] = {}
    for row in measured:
        values.setdefault(row["variant_id"], {})[row["task"], row["language"]] = row["value"]
    complete = [variant for variant, by_data_set in sorted(values.items()) if len(by_data_set) == len(data_sets)]
    if len(complete) < 2 or len(data_sets) < 2:
        expected = "two variants evaluated on the same two or more data sets"
        raise QueryError("not enough values to rank", expected=expected, got=f"{len(complete)} on all {len(data_sets)}")
    table = np.array([[values[variant][data_set] for variant in complete] for data_set in data_sets])
    test = friedman(table if is_higher_better(metric) else -table)
    statistics = (test.statistic, test.iman_davenport, test.p_value)
    shared = (len(complete), len(data_sets), *statistics, len(values) - len(complete))
    rows = []
    for index in np.argsort(test.average_ranks, kind="stable").tolist():
        variant = complete[index]
        ranks = (float(test.average_ranks[index]), float(table[:, index].mean()))
        rows.append((labels[variant], *ranks, *shared, variant, measured[0]["base_model_id"]))
    return rows
