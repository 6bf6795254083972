"""Differences over groups of languages and over seeds: means, minima, and parts of the variance.

Differences over groups of languages: the mean of the languages' differences, or the difference of the worst ones.

Clusters are the units of everything random, and a cluster is the same in all languages.

- A mean of credit or of log-likelihoods has the sign-flip test over clusters and the interval that inverts it. The
  contribution of a cluster to the mean is the sum over languages of its difference, divided by the language's number of
  items (or tokens) and by the number of languages. The standard error is that of the paired bootstrap.
- Other means have approximate randomisation, where the evaluations of a cluster are exchanged in all languages at once,
  and a BCa interval of the paired bootstrap, in which the test decides about 0.
- The worst language has `minima_test`. Values other than sums over clusters are linearised by the jackknife of
  each language.
- A gap is the mean of some languages minus English, and its difference the change of these languages minus the change
  of English. The contribution of a cluster is the difference of its contributions, its size the mean of its sizes.

Differences of variants with different seeds to one baseline: their mean, and the parts of seeds and items in it.

The mean is over the seeds and, for a group, over its languages. Its interval is for other seeds and other items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.inference.estimates import IntervalName, TestedDifference, TestName, flips_of
from mlprune.evaluation.inference.language_sums import LanguageGroup, LanguageSums, LanguageValues
from mlprune.evaluation.inference.methods import (
    LEVELS,
    Intervals,
    credit_parts,
    decided_by_test,
    unvaried_intervals,
)
from mlprune.evaluation.inference.minima import LanguageShares, minima_test
from mlprune.evaluation.inference.ratios import log_ratio_parts, ratio_parts
from mlprune.evaluation.task_metrics import InferenceName
from mlprune.languages import ENGLISH
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import (
    NOISE,
    bca_interval,
    is_constant,
    jackknife_contributions,
    percentile_interval,
)
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.sign_flips import SignFlipResult, sign_flip_tests, swap_p_values
from mlprune.numeric.statistics.variance_components import (
    ENOUGH_SEEDS,
    crossed_estimate,
    deviation_interval,
    language_component,
    pseudo_values,
    two_way_resamples,
    variance_components,
)
from mlprune.vocabulary import Scale

Parts = Callable[[Array, Array], tuple[Array, Array]]
"""[C, k] of both evaluations -> differences and sizes of clusters, both [C]; the difference is the ratio of sums."""
SUMS_OVER_CLUSTERS: Mapping[InferenceName, Parts] = {
    "credit": credit_parts,
    "log_likelihood": log_ratio_parts,
    "ratio": ratio_parts,
}
"""Inference of metrics whose difference is a ratio of sums -> the two sums."""
GAP_BOUND = 2.0
"""Largest possible change of a gap between two shares of right answers."""
AGGREGATED = (
    *("accuracy", "exact_match", "perplexity", "bleu", "chrf"),
    *("divergence", "divergence_per_character", "top_agreement", "log_prob_change"),
)
"""Metrics that are compared over groups of languages."""
SeedIntervalName = Literal["t", "two_way_bootstrap"]


@dataclass(frozen=True)
class Contributions:
    """The contribution of each cluster to a group's difference, and its share of the items, both [C].

    The contributions add up to the difference and the sizes to 1. If the difference is not a sum over clusters, they
    are those of the jackknife (`jackknife_contributions`), with sizes of 1 / C.
    """

    group: LanguageGroup
    clusters: tuple[str, ...]
    """Names."""
    contributions: Array
    sizes: Array


@dataclass(frozen=True, kw_only=True)
class Aggregate(TestedDifference):
    """The difference of a group of languages."""

    p_value: float
    test: TestName
    group: LanguageGroup
    value: float
    baseline_value: float
    worst: tuple[str, str] | None
    """Worst languages of variant and baseline; None for means."""
    n_flips: int


class _Tested(NamedTuple):
    intervals: Intervals
    method: IntervalName
    p_value: float
    test: TestName


def aggregate(sums: LanguageSums, groups: Sequence[LanguageGroup]) -> list[Aggregate]:
    """Compute the differences of groups of languages.

    Raises:
        PermanentError: a value is not finite.
    """
    means = [group for group in groups if group.kind != "worst"]
    tests: dict[LanguageGroup, SignFlipResult] = {}
    p_values: dict[LanguageGroup, float] = {}
    if means and sums.metric.inference not in SUMS_OVER_CLUSTERS:
        p_values = dict(zip(means, _exchange_p_values(sums, means), strict=True))
    elif means:
        parts = [contributions_of(sums, group) for group in means]
        contributions, sizes = (
            np.stack([part.contributions for part in parts]).T,
            np.stack([part.sizes for part in parts]).T,
        )
        scales = [GAP_BOUND if group.kind == "gap" else 1.0 for group in means]
        bound = 1.0 if sums.metric.inference == "credit" else None
        results = sign_flip_tests(contributions / scales, sizes, flips_of(sums.n_clusters), bound=bound)
        tests = {group: result.scaled(by) for group, result, by in zip(means, results, scales, strict=True)}
    return [_aggregate(sums, group, tests.get(group), p_values.get(group)) for group in groups]


def _exchange_p_values(sums: LanguageSums, groups: Sequence[LanguageGroup]) -> list[float]:
    def differences(flips: NDArray[np.int8]) -> Array:
        swapped = sums.swapped(flips)
        return np.stack([_difference(sums, group, swapped) for group in groups], axis=-1)

    return [float(p) for p in swap_p_values(differences, flips_of(sums.n_clusters))]


def contributions_of(sums: LanguageSums, group: LanguageGroup) -> Contributions:
    """Return the contribution of each cluster to a group's difference."""
    parts = SUMS_OVER_CLUSTERS.get(sums.metric.inference)
    if parts is None or group.kind == "worst":
        return _jackknife(sums, group)
    if group.kind == "gap":
        foreign, english = (contributions_of(sums, part) for part in _sides(group))
        contributions, sizes = foreign.contributions - english.contributions, (foreign.sizes + english.sizes) / 2
        return Contributions(group, sums.clusters, contributions, sizes)
    contributions, sizes = np.zeros(sums.n_clusters), np.zeros(sums.n_clusters)
    for index in _indices(sums, group):
        differences, weights = parts(sums.first[:, index], sums.second[:, index])
        contributions += differences / weights.sum() / len(group.languages)
        sizes += weights / weights.sum() / len(group.languages)
    return Contributions(group, sums.clusters, contributions, sizes)


def _sides(group: LanguageGroup) -> tuple[LanguageGroup, LanguageGroup]:
    """Return the two groups of which a gap is the difference: the other languages, and English."""
    foreign = tuple(name for name in group.languages if name != ENGLISH)
    return LanguageGroup("all", "", foreign), LanguageGroup("all", "", (ENGLISH,))


def _jackknife(sums: LanguageSums, group: LanguageGroup) -> Contributions:
    difference, left_out = (_difference(sums, group, values) for values in (sums.observed, sums.left_out))
    sizes = np.full(sums.n_clusters, 1 / sums.n_clusters)
    return Contributions(group, sums.clusters, jackknife_contributions(difference, left_out), sizes)


def _aggregate(
    sums: LanguageSums, group: LanguageGroup, test: SignFlipResult | None, p_value: float | None
) -> Aggregate:
    """Return the difference of a group: with its sign-flip test, with the p-value of exchanges, or for the worst."""
    value, baseline_value = _group_values(sums, group, sums.observed)
    difference = float(value - baseline_value)
    resampled = _difference(sums, group, sums.resampled)
    error = float(resampled.std(ddof=1)) if sums.n_clusters > 1 and resampled.size > 1 else None
    if group.kind == "worst":
        tested = _by_minima(sums, group, resampled)
    elif test is not None:
        tested = _Tested((test.interval, test.interval90), "sign_flip", test.p_value, "sign_flip")
    else:
        assert p_value is not None, "means of other metrics have exchanges"
        tested = _by_randomization(sums, group, resampled, difference=difference, p_value=p_value)
    is_log = sums.metric.inference == "log_likelihood"
    return Aggregate(
        group=group,
        value=float(np.exp(value) if is_log else value),
        baseline_value=float(np.exp(baseline_value) if is_log else baseline_value),
        worst=_worst_languages(sums) if group.kind == "worst" else None,
        difference=difference,
        scale=sums.metric.scale,
        interval=tested.intervals[0],
        interval90=tested.intervals[1],
        method=tested.method,
        standard_error=error,
        p_value=tested.p_value,
        test=tested.test,
        n_items=len(frozenset().union(*(sums.items[index] for index in _indices(sums, group)))),
        n_clusters=int(sums.n_per_cluster[:, _indices(sums, group)].any(axis=1).sum()),
        n_flips=len(flips_of(sums.n_clusters)) - 1,
    )


def _by_minima(sums: LanguageSums, group: LanguageGroup, resampled: Array) -> _Tested:
    first, second = sums.shares(_indices(sums, group))
    sign, bound = (1 if sums.metric.higher_is_better else -1), (1.0 if sums.metric.inference == "credit" else None)
    ours, theirs = (LanguageShares(sign * contributions, sizes) for contributions, sizes in (first, second))
    result = minima_test(ours, theirs, flips_of(sums.n_clusters), bound=bound)
    if sums.metric.inference == "resampled" and (not resampled.size or is_constant(resampled)):
        unvaried = unvaried_intervals(sign * result.difference, sums.n_clusters)
        return _Tested(unvaried, "score", result.p_value, "minima")
    wide, narrow = result.interval, result.interval90
    if sign < 0:
        wide, narrow = wide.mirrored, narrow.mirrored
    return _Tested((wide, narrow), "minima", result.p_value, "minima")


def _by_randomization(
    sums: LanguageSums, group: LanguageGroup, resampled: Array, *, difference: float, p_value: float
) -> _Tested:
    method: IntervalName = "bca"
    if not resampled.size or is_constant(resampled):
        intervals, method = unvaried_intervals(difference, sums.n_clusters), "score"
    else:
        left_out = _difference(sums, group, sums.left_out)
        wide, narrow = (bca_interval(resampled, difference, left_out, level=level) for level in LEVELS)
        intervals = (wide, narrow)
    return _Tested(decided_by_test(intervals, difference, p_value=p_value), method, p_value, "randomization")


def _difference(sums: LanguageSums, group: LanguageGroup, values: LanguageValues) -> Array:
    """Return the group's difference, [...], of [..., languages] values."""
    first, second = _group_values(sums, group, values)
    return np.asarray(first - second)


def _group_values(sums: LanguageSums, group: LanguageGroup, values: LanguageValues) -> tuple[Array, Array]:
    """Return the mean, the worst value or the gap of a group in both evaluations, [...]."""
    if group.kind == "gap":
        foreign, english = (_group_values(sums, side, values) for side in _sides(group))
        return np.asarray(foreign[0] - english[0]), np.asarray(foreign[1] - english[1])
    indices = _indices(sums, group)
    of_mean = partial(np.mean, axis=-1)
    worst = partial(np.min if sums.metric.higher_is_better else np.max, axis=-1)
    reduce = worst if group.kind == "worst" else of_mean
    return np.asarray(reduce(values.first[..., indices])), np.asarray(reduce(values.second[..., indices]))


def _worst_languages(sums: LanguageSums) -> tuple[str, str]:
    """Return the worst language of both evaluations; of several, the first one."""
    sign = 1 if sums.metric.higher_is_better else -1
    first, second = (int(np.argmin(sign * values)) for values in (sums.observed.first, sums.observed.second))
    return sums.languages[first], sums.languages[second]


def _indices(sums: LanguageSums, group: LanguageGroup) -> list[int]:
    return [sums.languages.index(name) for name in group.languages]


@dataclass(frozen=True)
class SeedDifference:
    """The mean difference of several seeds to a baseline."""

    n_seeds: int
    n_items: int
    n_clusters: int
    difference: float
    scale: Scale
    interval: Interval | None
    """None if neither seeds nor items vary: it would have no width."""
    method: SeedIntervalName
    standard_error: float
    bootstrap: Interval | None
    """Percentile interval of the two-way bootstrap, as a check where `interval` is another one; None as above."""
    seed_variance: float
    """Variance of the difference over seeds if there were infinitely many items."""
    item_variance: float
    """Variance of the difference of one seed over samples of items."""
    language_variance: float | None
    """Variance of the true differences over languages; None for one language."""
    deviation: float
    """Standard deviation of the seeds' differences."""
    deviation_interval: Interval | None
    """None for a deviation of 0: a few equal values do not show that other seeds are equal."""

    @property
    def seed_share(self) -> float | None:
        """Share of the seed in the variance of the difference of one seed; None without any variance."""
        total = self.seed_variance + self.item_variance
        return self.seed_variance / total if total > 0 else None


def seed_difference(seeds: Sequence[LanguageSums], group: LanguageGroup) -> SeedDifference | None:
    """Return the mean difference of a group of languages; None for a single cluster of items.

    Below ten seeds the interval is that of `crossed_estimate`, over the jackknife's pseudo-values of clusters; from ten
    on it is the percentile interval of the two-way bootstrap, with 1,999 resamples of clusters (seed 0) and of seeds
    (seed 1).

    Args:
        seeds: the sums of at least two seeds, with the same items and baseline.
    Raises:
        PermanentError: a value is not finite.
    """
    first = seeds[0]
    indices = [first.languages.index(name) for name in group.languages]
    clusters = np.asarray(first.n_per_cluster[:, indices].any(axis=1))
    if clusters.sum() < 2:
        return None
    table = np.stack([_pseudo_values(sums, indices, clusters) for sums in seeds])
    values = table.mean(axis=1)
    estimate, components = crossed_estimate(values), variance_components(values)
    bootstrap = percentile_interval(two_way_resamples(_resampled(seeds, indices)))
    has_many = len(seeds) >= ENOUGH_SEEDS
    differences = np.array([_differences(sums)[indices].mean() for sums in seeds])
    deviation = float(differences.std(ddof=1))
    deviation = deviation if deviation > NOISE else 0.0
    interval = bootstrap if has_many else _centred(estimate.interval(), float(differences.mean()) - estimate.value)
    return SeedDifference(
        n_seeds=len(seeds),
        n_items=len(frozenset().union(*(first.items[index] for index in indices))),
        n_clusters=int(clusters.sum()),
        difference=float(differences.mean()),
        scale=first.metric.scale,
        interval=_with_width(interval),
        method="two_way_bootstrap" if has_many else "t",
        standard_error=estimate.standard_error,
        bootstrap=_with_width(bootstrap),
        seed_variance=components.seed,
        item_variance=(components.item + components.residual) / values.shape[1],
        language_variance=language_component(table) if len(indices) > 1 else None,
        deviation=deviation,
        deviation_interval=deviation_interval(deviation, len(seeds)) if deviation > 0 else None,
    )


def _with_width(interval: Interval) -> Interval | None:
    """Return an interval unless its width is a rounding error."""
    return interval if interval.width > NOISE else None


def _differences(sums: LanguageSums) -> Array:
    """[languages]."""
    return np.asarray(sums.observed.first - sums.observed.second)


def _pseudo_values(sums: LanguageSums, indices: Sequence[int], clusters: NDArray[np.bool_]) -> Array:
    """[languages, C] pseudo-values of the difference for the clusters of these languages."""
    left_out = (sums.left_out.first - sums.left_out.second)[clusters]
    return np.stack([pseudo_values(_differences(sums)[index], left_out[:, index]) for index in indices])


def _resampled(seeds: Sequence[LanguageSums], indices: Sequence[int]) -> Array:
    """[R, seeds] mean over languages of the resampled differences."""
    parts = [(sums.resampled.first - sums.resampled.second)[:, indices].mean(axis=1) for sums in seeds]
    return np.stack(parts, axis=1)


def _centred(interval: Interval, shift: float) -> Interval:
    """Move an interval from the mean of the pseudo-values to the difference."""
    return Interval(interval.low + shift, interval.high + shift)
