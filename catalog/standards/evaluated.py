"""Evaluated variants and their metrics, read from the catalog."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from catalog.results import Row
from catalog.sql_files import statement
from catalog.store import Catalog
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.standards.evaluated import EvaluatedMetric, EvaluatedModel

MODEL_SETTINGS = (
    "score",
    "structure",
    "propagation",
    "sparsity",
    "achieved_sparsity",
    "demonstration_label",
    "settings",
    "refiner",
    "bits",
    "intervention",
    "mask_sha256",
)
METRIC_SETTINGS = ("scoring_rule", "prompt_language", "example_limit", "n_shots", "protocol", "signature")
"""Columns that become texts next to a result."""


@dataclass(frozen=True)
class EvaluatedVariant:
    """A variant with all of its metrics, except those of evaluations that a larger or later one replaces."""

    model: EvaluatedModel
    metrics: tuple[EvaluatedMetric, ...]
    """Those with a finite value."""
    rows: tuple[Row, ...]
    """Rows of all metrics."""

    @property
    def tasks(self) -> dict[str, tuple[EvaluatedMetric, ...]]:
        """Task -> its metrics."""
        names = dict.fromkeys(metric.task for metric in self.metrics)
        return {name: tuple(metric for metric in self.metrics if metric.task == name) for name in names}

    @cached_property
    def evaluations(self) -> dict[str, Row]:
        """Evaluation -> the row of one of its metrics, whose other columns say how it was evaluated."""
        return {str(row["evaluation_id"]): row for row in self.rows}


def evaluated_variants(catalog: Catalog, variant_ids: Collection[str] = ()) -> Iterator[EvaluatedVariant]:
    """Yield the evaluated variants, dense ones first.

    Args:
        variant_ids: of the variants; all if empty.
    """
    commits = data_set_commits(catalog)
    rows: dict[str, list[Row]] = {}
    chosen = {"variant_ids": list(variant_ids)}
    for row in catalog.query(statement("standards", "metrics"), chosen):
        rows.setdefault(str(row["variant_id"]), []).append(row)
    for variant in catalog.query(statement("standards", "variants"), chosen):
        own = tuple(rows.get(str(variant["variant_id"]), ()))
        finite = [row for row in own if row["value"] is not None and isfinite(row["value"])]
        yield EvaluatedVariant(_model(variant), tuple(_metric(row, commits) for row in finite), own)


def data_set_commits(catalog: Catalog) -> dict[str, str]:
    """Return repository of a data set that recipes of this store read from a hub -> its commit.

    Data sets of which recipes read several commits are left out: the catalog does not say which one an evaluation read.
    """
    found: dict[str, set[str]] = {}
    for row in catalog.query(statement("standards", "data_sets")):
        found.setdefault(str(row["name"]).partition("@")[0], set()).add(str(row["id"]))
    return {name: commit for name, (commit, *more) in ((name, sorted(ids)) for name, ids in found.items()) if not more}


def _model(row: Row) -> EvaluatedModel:
    return EvaluatedModel(
        variant_id=str(row["variant_id"]),
        label="dense" if row["is_dense"] else str(row["label"]),
        base_model=str(row["base_model"]),
        settings=_texts(row, MODEL_SETTINGS),
    )


def _metric(row: Row, commits: Mapping[str, str]) -> EvaluatedMetric:
    task = TASKS.get(str(row["task"]))
    known = task.dataset.repository(str(row["language"])) if task is not None and task.dataset is not None else ""
    return EvaluatedMetric(
        evaluation_id=str(row["evaluation_id"]),
        task=str(row["task"]),
        language=str(row["language"]),
        split=str(row["split"]),
        metric=str(row["metric"]),
        value=row["value"],
        ci_low=row["ci_low"],
        ci_high=row["ci_high"],
        interval=row["interval"],
        standard_error=row["standard_error"],
        n=row["n"],
        n_clusters=row["n_clusters"],
        chance=row["chance"],
        higher_is_better=bool(row["higher_is_better"]),
        settings=_texts(row, METRIC_SETTINGS),
        evaluated_at=row["evaluated_at"],
        dataset=known if known in commits else None,
        dataset_revision=commits.get(known),
    )


def _texts(row: Row, names: tuple[str, ...]) -> dict[str, str]:
    return {name: str(row[name]) for name in names if row[name] is not None}
