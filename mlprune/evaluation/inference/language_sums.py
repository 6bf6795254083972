"""Statistics over shared clusters in several languages, of two evaluations or many candidates.

Statistics of two evaluations in several languages over shared clusters, and their random exchanges and resamples.

Items are matched by id and clusters by name, so that a draw takes a cluster in all languages. The clusters are those of
all languages together; a language without a cluster contributes 0.

Statistics of many candidates in several languages over shared clusters, and their values in shared resamples.

The dense model's items and clusters are those of all candidates. Statistics are added over clusters as predictions are
read, so that only the sums are in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.inference.estimates import HasItems, check_same_items, resamples_of
from mlprune.evaluation.task_metrics import Metric
from mlprune.languages import ENGLISH, resource_class_of, script_of
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import jackknife_contributions, resampled_sums
from mlprune.numeric.statistics.clusters import cluster_sums, shared_cluster_codes
from mlprune.numeric.statistics.sign_flips import swapped_values
from mlprune.vocabulary import GroupKind

MEANS = ("credit", "log_likelihood", "ratio")
"""Inference of metrics whose values, or their logarithms, are ratios of sums over clusters."""
Evaluations = tuple[HasItems, HasItems]
"""Predictions of the variant and of the baseline."""
T = TypeVar("T")
Reader = Callable[[int, str], HasItems | None]
"""(index of a candidate, language) -> its predictions; None if it was not evaluated in the language."""


@dataclass(frozen=True)
class LanguageGroup:
    """Languages of a task that are taken together."""

    kind: GroupKind
    name: str
    """The script, the number of the resource class, or the language; empty for other kinds and for all languages."""
    languages: tuple[str, ...]
    """Languages, or pairs of languages, sorted."""


def language_groups(main_languages: Mapping[str, str]) -> list[LanguageGroup]:
    """Return the groups of a task's languages that have at least one language.

    The difference of a group `gap` is that of a language, or of the mean outside English, minus that of English.

    English is in `all` and `worst`, but in no script and no resource class. A language that the taxonomy of resource
    classes lacks is in no resource class.

    Args:
        main_languages: evaluated language, or pair such as `fr-en` -> the language that places it in a group: itself,
            or the pair's language other than English.
    """
    languages = tuple(sorted(main_languages))
    foreign = tuple(name for name in languages if main_languages[name] != ENGLISH)
    scripts = {name: script_of(main_languages[name]) for name in foreign}
    classes = {name: resource_class_of(main_languages[name]) for name in foreign}
    groups = [
        LanguageGroup("outside_english", "", foreign),
        LanguageGroup("all", "", languages),
        LanguageGroup("worst", "", languages),
        *(_having(scripts, script, kind="script") for script in sorted(set(scripts.values()))),
        *(
            _having(classes, number, kind="resource_class")
            for number in sorted({number for number in classes.values() if number is not None})
        ),
        *_gaps(languages, foreign),
    ]
    return [group for group in groups if group.languages]


def _gaps(languages: Sequence[str], foreign: Sequence[str]) -> list[LanguageGroup]:
    """Return each language minus English, and the mean outside English minus English; nothing without English."""
    if ENGLISH not in languages or not foreign:
        return []
    pairs = [LanguageGroup("gap", name, tuple(sorted((ENGLISH, name)))) for name in foreign]
    return [LanguageGroup("gap", "", tuple(languages)), *pairs]


def _having(values: Mapping[str, object], value: object, *, kind: GroupKind) -> LanguageGroup:
    return LanguageGroup(kind, str(value), tuple(name for name in values if values[name] == value))


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
    items: tuple[frozenset[tuple[str, int]], ...]
    """[languages] ids and right candidates of the items."""
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

    def swapped(self, flips: NDArray[np.int8]) -> LanguageValues:
        """Return [K, languages]: the evaluations are exchanged for whole clusters, in all languages at once."""
        first, second = (sums.reshape(self.n_clusters, -1) for sums in (self.first, self.second))
        return LanguageValues(*swapped_values(first, second, self._flat_values, flips=flips))

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
        check_same_items(variant, baseline)
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
        items=tuple(frozenset(evaluations[language][0].item_keys) for language in languages),
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
        check_same_items(reference[language], predictions)
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
