"""Sums of the metrics of a search over shared clusters, for every candidate, task and language.

The clusters are those of all tasks and languages together; clusters of equal name are one cluster. A resample therefore
draws a cluster in all tasks, in all languages and for all candidates at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from mlprune.capabilities.search.strategy.objective import RANK_CONSISTENCY, Group
from mlprune.evaluation.inference import language_sums
from mlprune.evaluation.inference.estimates import check_same_items
from mlprune.evaluation.rank_agreement import LanguageRankings, agreement
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import METRICS, Metric, task_metrics
from mlprune.languages import ENGLISH
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import cluster_sums, shared_cluster_codes
from mlprune.steps.compare.differences import main_language
from mlprune.steps.evaluate.results import StoredPredictions, predictions_of
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.store.store import Store
from mlprune.vocabulary import is_higher_better

TaskMetric = tuple[str, str]
"""(task, metric)."""
TaskLanguage = tuple[str, str]
"""(task, language or pair)."""
Specs = Mapping[TaskLanguage, EvaluationSpec]


@dataclass(frozen=True)
class MetricSums:
    """Sums of one metric of one task."""

    name: str
    metric: Metric
    main_languages: Mapping[str, str]
    """Evaluated language, or pair -> the language that places it in a group. RankC has no English."""
    sums: Array
    """[C, candidates, languages, k]; languages in alphabetical order."""

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted(self.main_languages))

    @property
    def sign(self) -> float:
        """1 if higher values are better, otherwise -1."""
        return 1.0 if is_higher_better(self.name) else -1.0

    @property
    def is_log(self) -> bool:
        """Whether language values are logarithms: those of perplexity are."""
        return self.metric.inference == "log_likelihood"

    @cached_property
    def observed(self) -> Array:
        """[candidates, languages] values."""
        return language_sums.language_values(self.metric, self.sums.sum(axis=0))

    @cached_property
    def resampled(self) -> Array:
        """[R, candidates, languages] values; not a number if a resample has no item of a language."""
        return np.stack(
            [language_sums.resampled_values(self.metric, part) for part in np.moveaxis(self.sums, 1, 0)], axis=1
        )

    @cached_property
    def left_out(self) -> Array:
        """[C, candidates, languages] values without each cluster; the observed one if a language would have no item."""
        return language_sums.left_out_values(self.metric, self.sums)

    def indices(self, group: Group) -> list[int]:
        """Return the positions of the languages of a group; empty if there are none."""
        if group.kind == "language":
            return [index for index, language in enumerate(self.languages) if language == group.name]
        groups = language_sums.language_groups(self.main_languages)
        members = {
            language for one in groups if (one.kind, one.name) == (group.kind, group.name) for language in one.languages
        }
        return [index for index, language in enumerate(self.languages) if language in members]

    def reduced(self, values: Array, group: Group) -> Array:
        """Return a group's value, [...], of [..., languages] values: the mean, or of `worst` the worst one.

        The perplexity of several languages is their geometric mean.
        """
        of_group = values[..., self.indices(group)]
        worst = self.sign * (self.sign * of_group).min(axis=-1)
        reduced = worst if group.kind == "worst" else of_group.mean(axis=-1)
        return np.asarray(np.exp(reduced) if self.is_log else reduced)


@dataclass(frozen=True)
class MeasuredSums:
    """Sums of all metrics of a search for some candidates, of which the first is the dense model."""

    tables: Mapping[TaskMetric, MetricSums]
    n_items: int
    """Items of all tasks and languages, which are the same for every candidate."""

    @cached_property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(next(iter(self.tables.values())).sums)

    @cached_property
    def is_complete(self) -> NDArray[np.bool_]:
        """[R] whether a resample has an item of every task and language."""
        return np.asarray(
            np.logical_and.reduce([np.isfinite(table.resampled).all(axis=(1, 2)) for table in self.tables.values()])
        )


def read_measured_sums(
    store: Store, candidates: Sequence[Iterable[EvaluationSpec]], metrics: Iterable[TaskMetric]
) -> MeasuredSums:
    """Read the predictions of all candidates, one candidate after the other, and add up their statistics.

    Args:
        candidates: evaluations of each candidate, the dense model first. The first one of a task and language counts.
        metrics: what the objective and the constraints measure.
    Raises:
        ShapeError: two candidates are not about the same items.
        StoreError: an evaluation has no record.
    """
    distinct = sorted(set(metrics))
    tasks = {task for task, _ in distinct}
    specs = [
        {(one.task.task, one.task.language): one for one in reversed(tuple(evaluations)) if one.task.task in tasks}
        for evaluations in candidates
    ]
    dense = {key: predictions_of(store, evaluation) for key, evaluation in sorted(specs[0].items(), key=itemgetter(0))}
    names, codes = shared_cluster_codes(predictions.clusters for predictions in dense.values())
    clusters = _Clusters({name: code for code, name in enumerate(names)}, dict(zip(dense, codes, strict=True)))
    columns: dict[TaskMetric, list[Array]] = {metric: [] for metric in distinct}
    for index, of_candidate in enumerate(specs):
        predictions = dense if index == 0 else {key: predictions_of(store, of_candidate[key]) for key in dense}
        for key, of_dense in dense.items():
            check_same_items(of_dense, predictions[key])
        for task, name in distinct:
            columns[task, name].append(_sums(predictions, task, of_candidate, name=name, clusters=clusters))
    tables = {key: _table(*key, specs[0], np.stack(sums, axis=1)) for key, sums in columns.items()}
    return MeasuredSums(tables, sum(len(predictions.example_ids) for predictions in dense.values()))


@dataclass(frozen=True)
class _Clusters:
    """Numbers of the clusters of all tasks and languages."""

    number_of: Mapping[str, int]
    codes: Mapping[TaskLanguage, NDArray[np.int64]]
    """Number of the cluster of each item."""


def _languages(specs: Specs, task: str, name: str) -> list[str]:
    """Return the languages of a metric in alphabetical order; English has no RankC with itself."""
    languages = sorted(language for of, language in specs if of == task)
    return [language for language in languages if name != RANK_CONSISTENCY or language != ENGLISH]


def _metric(name: str, spec: EvaluationSpec) -> Metric:
    """Return a metric of a task. RankC is a mean over items, as accuracy is."""
    if name == RANK_CONSISTENCY:
        return METRICS["accuracy"]
    return task_metrics(spec.task.definition, spec.task.target_language, names=(name,))[0]


def _sums(
    predictions: Mapping[TaskLanguage, StoredPredictions], task: str, specs: Specs, *, name: str, clusters: _Clusters
) -> Array:
    """[C, languages, k] sums of the statistics of one candidate."""
    n_clusters = len(clusters.number_of)
    parts = []
    if name == RANK_CONSISTENCY:
        english = _rankings(predictions[task, ENGLISH])
        for language in _languages(specs, task, name):
            agreed = agreement(_rankings(predictions[task, language]), english)
            codes = np.array([clusters.number_of[cluster] for cluster in agreed.first.clusters], dtype=np.int64)
            statistics = np.stack([agreed.values, np.ones_like(agreed.values)], axis=1)
            parts.append(cluster_sums(statistics, codes, n_clusters=n_clusters))
    else:
        for language in _languages(specs, task, name):
            statistics = _metric(name, specs[task, language]).statistics(predictions[task, language])
            parts.append(cluster_sums(statistics, clusters.codes[task, language], n_clusters=n_clusters))
    return np.stack(parts, axis=1)


def _rankings(predictions: StoredPredictions) -> LanguageRankings:
    assert isinstance(predictions, Predictions), "only choices are ranked"
    return LanguageRankings.of(predictions)


def _table(task: str, name: str, specs: Specs, sums: Array) -> MetricSums:
    languages = _languages(specs, task, name)
    metric = _metric(name, specs[task, languages[0]])
    main_languages = {language: main_language(specs[task, language].task) for language in languages}
    return MetricSums(name, metric, main_languages, sums)
