"""Statistics of many candidates in several languages over shared clusters, and their values in shared resamples.

The dense model's items and clusters are those of all candidates. Statistics are added over clusters as predictions are
read, so that only the sums are in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from mlprune.evaluation.inference.language_sums import language_values, resampled_values
from mlprune.evaluation.inference.samples import HasItems, check_same_items
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.clusters import Array, cluster_sums, shared_cluster_codes

T = TypeVar("T")

Reader = Callable[[int, str], HasItems | None]
"""(index of a candidate, language) -> its predictions; None if it was not evaluated in the language."""


@dataclass(frozen=True)
class CandidateSums:
    """Sums of a metric's statistics over clusters, for each candidate and language."""

    metric: Metric
    languages: tuple[str, ...]
    """In alphabetical order."""
    clusters: tuple[str, ...]
    """Names, in the order of their first items."""
    items: Mapping[str, tuple[str, ...]]
    """Language -> ids of its items."""
    clusters_of: Mapping[str, frozenset[str]]
    """Language -> names of its clusters."""
    sums: Array
    """[C, candidates, languages, k]; not a number where a candidate was not evaluated."""

    @property
    def sign(self) -> float:
        """1 if higher values are better, otherwise -1."""
        return 1.0 if self.metric.higher_is_better else -1.0

    def candidates(self, languages: Sequence[str]) -> list[int]:
        """Return the candidates that were evaluated in all of some languages."""
        totals = self.observed[:, [self.languages.index(name) for name in languages]]
        return [int(index) for index in np.flatnonzero(np.isfinite(totals).all(axis=1))]

    @cached_property
    def observed(self) -> Array:
        """[candidates, languages] values; the logarithm of perplexity."""
        return language_values(self.metric, self.sums.sum(axis=0))

    @cached_property
    def resampled(self) -> Array:
        """[R, candidates, languages] values: resamples of clusters in which every language has an item."""
        of_candidates: list[Array] = []
        for sums, observed in zip(np.moveaxis(self.sums, 1, 0), self.observed, strict=True):
            values_of = resampled_values(self.metric, np.nan_to_num(sums))
            of_candidates.append(np.where(np.isfinite(observed), values_of, np.nan))
        values = np.stack(of_candidates, axis=1)
        return values[np.isfinite(values[:, 0]).all(axis=1)]


def candidate_sums(metrics: Mapping[str, Metric], read: Reader, *, n_candidates: int) -> CandidateSums:
    """Read the predictions of all candidates and return the sums of their statistics.

    Args:
        metrics: language -> the metric; for translation it depends on the language.
        read: reads predictions. Candidate 0, the dense model, was evaluated in all languages.
        n_candidates: number of candidates.
    Raises:
        ShapeError: two candidates are not about the same items.
    """
    languages = tuple(sorted(metrics))
    reference = {language: _required(read(0, language)) for language in languages}
    clusters, codes = shared_cluster_codes(predictions.clusters for predictions in reference.values())
    codes_of = dict(zip(languages, codes, strict=True))

    def sums_of(index: int, language: str) -> Array | None:
        predictions = reference[language] if index == 0 else read(index, language)
        if predictions is None:
            return None
        check_same_items(reference[language].example_ids, predictions.example_ids)
        return cluster_sums(metrics[language].statistics(predictions), codes_of[language], n_clusters=len(clusters))

    parts = [[sums_of(index, language) for language in languages] for index in range(n_candidates)]
    absent = np.full_like(_required(parts[0][0]), np.nan)
    table = [np.stack([absent if sums is None else sums for sums in row], axis=1) for row in parts]
    return CandidateSums(
        metric=metrics[languages[0]],
        languages=languages,
        clusters=clusters,
        items={language: predictions.example_ids for language, predictions in reference.items()},
        clusters_of={language: frozenset(predictions.clusters) for language, predictions in reference.items()},
        sums=np.stack(table, axis=1),
    )


def _required(value: T | None) -> T:
    assert value is not None, "the dense model was evaluated in all languages"
    return value
