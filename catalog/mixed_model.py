"""Mixed model of the right answers of a task: a check of the paired tests, with items, languages and seeds as random.

It reads the stored predictions, so it runs no model. Variants that differ in nothing but a seed share a fixed effect.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.queries import find_query
from catalog.results import QueryResult, Row, Value
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.errors import QueryError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.numeric.evaluation.metrics import highest
from mlprune.numeric.statistics.mixed_model import fit_mixed_logistic
from mlprune.steps.evaluate.results import read_predictions
from mlprune.steps.evaluate.task_spec import task_spec
from mlprune.store.store import Store

COLUMNS = (
    "term",
    "kind",
    "estimate",
    "low",
    "high",
    "odds_ratio",
    "n_levels",
    "n_answers",
    "variant_id",
    "base_model_id",
)
"""`estimate` is a log odds ratio against dense for `fixed`, a standard deviation in log odds for `random`.

`n_levels` is the number of seeds of a fixed effect, and of items, clusters, languages or seeds of a random one.
Standard deviations have no interval; the query `seed_variance` has one for the seeds.
"""
NOTE = (
    "A check only: the odds are those of a logistic mixed model, fitted by Laplace's approximation. "
    "Tests over languages are in the view aggregates, those over seeds in the query seed_variance."
)
"""Printed with the model."""


@dataclass(frozen=True)
class _Answers:
    """The answers of one evaluation."""

    variant_id: str
    language: str
    items: tuple[str, ...]
    clusters: tuple[str, ...]
    right: NDArray[np.bool_]


def mixed_model(
    catalog: Catalog, store: Store, task: str, *, split: str = "test", scoring_rule: str | None = None
) -> QueryResult:
    """Fit one model per base model to the answers outside English; rows of fixed effects first.

    Raises:
        QueryError: no evaluation matches, or the task has no candidates.
        BadInputError: the answers do not determine a model.
        PermanentError: the fit does not converge.
    """
    parameters = {"task": task, "metric": "accuracy", "split": split, "scoring_rule": scoring_rule}
    query = find_query("values_by_variant")
    options = {"protocol_id": None, "profile": "corrected"}
    measured = [row for row in catalog.query(query.sql, {**parameters, **options}) if row["language"] != "en"]
    if not measured:
        raise QueryError("no evaluation matches", expected="accuracy outside English", **parameters)
    described = {row["variant_id"]: row for row in catalog.query(statement("tables", "variant_methods"))}
    rows: list[tuple[Value, ...]] = []
    for base_model in sorted({row["base_model_id"] for row in measured}):
        answers = [_read(store, row) for row in measured if row["base_model_id"] == base_model]
        rows += [(*row, base_model) for row in _fit(answers, described)]
    return QueryResult(COLUMNS, tuple(rows))


def _read(store: Store, row: Row) -> _Answers:
    record = store.require("evaluations", str(row["evaluation_id"]))
    predictions = read_predictions(store, task_spec(record.parameters), record.artefacts[0])
    if not isinstance(predictions, Predictions):
        raise QueryError("a mixed model needs right and wrong answers", task=row["task"], expected="a task of choices")
    right = highest(predictions.score_matrix) == predictions.gold
    return _Answers(str(row["variant_id"]), str(row["language"]), predictions.example_ids, predictions.clusters, right)


def _fit(answers: Sequence[_Answers], described: Mapping[str, Row]) -> list[tuple[Value, ...]]:
    """Return the rows of one base model."""
    groups = _groups(answers, described)
    owners = np.repeat(np.arange(len(answers)), [len(each.items) for each in answers])
    group_of = np.array([next(k for k, ids in enumerate(groups) if each.variant_id in ids) for each in answers])[owners]
    fixed = {"dense": np.ones(len(owners))}
    pruned = [(k, ids[0]) for k, ids in enumerate(groups) if not described[ids[0]]["is_dense"]]
    fixed |= {first: (group_of == k).astype(np.float64) for k, first in pruned}
    repeated = [variant for ids in groups if len(ids) > 1 for variant in ids]
    seeds = np.array([repeated.index(each.variant_id) if each.variant_id in repeated else -1 for each in answers])
    factors = {
        "item": _codes(item for each in answers for item in each.items),
        "cluster": _codes(cluster for each in answers for cluster in each.clusters),
        "language": _codes(each.language for each in answers)[owners],
        "seed": seeds[owners],
    }
    if factors["cluster"].max() == factors["item"].max():
        del factors["cluster"]
    model = fit_mixed_logistic(np.concatenate([each.right for each in answers]), fixed, factors)
    n_seeds = {ids[0]: len(ids) for ids in groups}
    rows: list[tuple[Value, ...]] = []
    for effect in model.fixed[1:]:
        label, odds = described[effect.name]["label"], float(np.exp(effect.value))
        ends = (effect.value, effect.interval.low, effect.interval.high)
        rows.append((label, "fixed", *ends, odds, n_seeds[effect.name], model.n, effect.name))
    for factor in model.random:
        term = f"standard deviation of {factor.name}"
        rows.append((term, "random", factor.deviation, None, None, None, factor.n_levels, model.n, None))
    return rows


def _groups(answers: Sequence[_Answers], described: Mapping[str, Row]) -> list[list[str]]:
    """Group variants that differ in nothing but a seed, in the order of their first evaluation."""
    groups: dict[tuple[Value, ...], list[str]] = defaultdict(list)
    for variant in dict.fromkeys(each.variant_id for each in answers):
        row = described[variant]
        groups[tuple(row[key] for key in ("method", "sparsity", "shots", "samples"))].append(variant)
    return list(groups.values())


def _codes(names: Iterable[str]) -> NDArray[np.int64]:
    """Number names in the order of their first occurrence."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
