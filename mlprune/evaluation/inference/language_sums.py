"""Statistics of two evaluations in several languages over shared clusters, and their random exchanges and resamples.

Items are matched by id and clusters by name, so that a draw takes a cluster in all languages. The clusters are those of
all languages together; a language without a cluster contributes 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.inference.samples import HasItems, check_same_items, flips_of, resamples_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.numeric.statistics.bootstrap import jackknife_contributions, resampled_sums
from mlprune.numeric.statistics.clusters import Array, cluster_sums, shared_cluster_codes
from mlprune.numeric.statistics.randomization import swapped_values

MEANS = ("credit", "log_likelihood")
"""Inference of metrics whose values, or their logarithms, are ratios of sums over clusters."""
Evaluations = tuple[HasItems, HasItems]
"""Predictions of the variant and of the baseline."""


@dataclass(frozen=True)
class LanguageValues:
    """Values of the two evaluations, both [..., languages], on the scale of the difference."""

    first: Array
    second: Array


@dataclass(frozen=True)
class LanguageSums:
    """Sums of a metric's statistics over clusters, for each language."""

    metric: Metric
    languages: tuple[str, ...]
    clusters: tuple[str, ...]
    """Names, in the order of their first items."""
    items: tuple[frozenset[str], ...]
    """[languages] ids of the items."""
    n_per_cluster: NDArray[np.int64]
    """[C, languages] number of items."""
    first: Array
    """[C, languages, k]."""
    second: Array

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.clusters)

    @cached_property
    def observed(self) -> LanguageValues:
        """[languages]."""
        return LanguageValues(self._values(self.first.sum(axis=0)), self._values(self.second.sum(axis=0)))

    @cached_property
    def swapped(self) -> LanguageValues:
        """[K, languages]: the evaluations are exchanged for whole clusters, in all languages at once."""
        first, second = (sums.reshape(self.n_clusters, -1) for sums in (self.first, self.second))
        return LanguageValues(*swapped_values(first, second, self._flat_values, flips=flips_of(self.n_clusters)))

    @cached_property
    def resampled(self) -> LanguageValues:
        """[R, languages]: resamples of clusters in which every language has an item."""
        both = np.stack([self.first, self.second], axis=1)
        first, second = np.moveaxis(resampled_values(self.metric, both), 1, 0)
        is_complete = np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1)
        return LanguageValues(first[is_complete], second[is_complete])

    @cached_property
    def left_out(self) -> LanguageValues:
        """[C, languages]: without each cluster in turn; the observed value if this would leave a language no item."""
        return LanguageValues(left_out_values(self.metric, self.first), left_out_values(self.metric, self.second))

    def shares(self, indices: Sequence[int]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return what each cluster adds to the values of some languages, and its shares of their items, [C, languages].

        The contributions of a language add up to its value and the sizes to 1. They are exact for credit and
        log-likelihoods. For other metrics they are those of the jackknife (`jackknife_contributions`), with sizes of
        1 / C.
        """
        left_out = (self.left_out.first, self.left_out.second)
        observed = (self.observed.first, self.observed.second)
        first, second = (
            _shares(self.metric, sums[:, indices], value=value[indices], left_out=without[:, indices])
            for sums, value, without in zip((self.first, self.second), observed, left_out, strict=True)
        )
        return first, second

    def _flat_values(self, sums: Array) -> Array:
        """Return [..., languages] values of [..., languages * k] sums."""
        return self._values(sums.reshape(*sums.shape[:-1], *self.first.shape[1:]))

    def _values(self, sums: Array) -> Array:
        return language_values(self.metric, sums)


def language_values(metric: Metric, sums: Array) -> Array:
    """Return values, [...], of [..., k] sums on the scale of differences: ln(perplexity) in the place of perplexity."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric.inference == "log_likelihood":
            return np.asarray(-sums[..., 0] / sums[..., 1])
        return metric.value(sums)


def resampled_values(metric: Metric, sums: Array) -> Array:
    """Return the values of [C, ..., k] sums in each resample of clusters, [R, ...], on the scale of differences.

    They are not a number where a resample has no item.
    """
    resampled = resampled_sums(resamples_of(len(sums)), sums.reshape(len(sums), -1))
    return language_values(metric, resampled.reshape(len(resampled), *sums.shape[1:]))


def left_out_values(metric: Metric, sums: Array) -> Array:
    """Return the values of [C, ..., k] sums without each cluster in turn, [C, ...], on the scale of differences.

    It is the value of all clusters where no item would be left.
    """
    total = sums.sum(axis=0)
    values = language_values(metric, total - sums)
    return np.where(np.isfinite(values), values, language_values(metric, total))


def language_sums(metrics: Mapping[str, Metric], evaluations: Mapping[str, Evaluations]) -> LanguageSums:
    """Return the sums of one metric over shared clusters.

    Args:
        metrics: language -> the metric; for translation it depends on the language.
        evaluations: language -> predictions of the variant and of the baseline.
    Raises:
        ShapeError: variant and baseline are not about the same items.
    """
    languages = tuple(sorted(evaluations))
    for language in languages:
        variant, baseline = evaluations[language]
        check_same_items(variant.example_ids, baseline.example_ids)
    clusters, codes = shared_cluster_codes(evaluations[language][0].clusters for language in languages)
    first, second = (
        np.stack(
            [
                cluster_sums(
                    metrics[language].statistics(evaluations[language][side]), of_items, n_clusters=len(clusters)
                )
                for language, of_items in zip(languages, codes, strict=True)
            ],
            axis=1,
        )
        for side in (0, 1)
    )
    return LanguageSums(
        metric=metrics[languages[0]],
        languages=languages,
        clusters=clusters,
        items=tuple(frozenset(evaluations[language][0].example_ids) for language in languages),
        n_per_cluster=np.stack([np.bincount(of_items, minlength=len(clusters)) for of_items in codes], axis=1),
        first=first,
        second=second,
    )


def mean_shares(metric: Metric, sums: Array) -> tuple[Array, Array]:
    """Return what each cluster adds to the values of a metric of `MEANS`, and its shares of the items, both [C, ...].

    Args:
        sums: [C, ..., k].
    """
    sign = -1 if metric.inference == "log_likelihood" else 1
    totals = sums[..., 1].sum(axis=0)
    return sign * sums[..., 0] / totals, sums[..., 1] / totals


def _shares(metric: Metric, sums: Array, *, value: Array, left_out: Array) -> tuple[Array, Array]:
    """Return contributions and sizes of one evaluation, both [C, languages]; see `LanguageSums.shares`."""
    if metric.inference in MEANS:
        return mean_shares(metric, sums)
    return jackknife_contributions(value, left_out), np.full(left_out.shape, 1 / len(sums))
