"""Variance over seeds and over items: components, intervals and tests for seeds that are measured on the same items.

Values form a table of seeds and clusters of items: u[s, c] is the difference of seed s on cluster c. For a difference
that is not a mean over clusters, it is the jackknife's pseudo-value C * D_s - (C - 1) * D_s without cluster c. Seeds
and items are two samples, and both limit what the mean says about other seeds and other items.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import Interval, check_level

ENOUGH_SEEDS = 10
"""From this number of seeds on, intervals are those of the two-way bootstrap."""
SMALLEST_TAIL = 1e-100
"""Smallest p-value of a test, far beyond what any number of items could show."""


@dataclass(frozen=True)
class VarianceComponents:
    """Variances of a table of seeds and clusters: u[s, c] = mean + a_s + b_c + e_sc."""

    seed: float
    """Of a: what a difference of infinitely many items would vary over seeds."""
    item: float
    """Of b: what items vary over all seeds together."""
    residual: float
    """Of e: what the items of one seed vary in addition."""


class ErrorParts(NamedTuple):
    """Parts of a squared standard error, which add up to it."""

    seeds: float
    """From the variant's seeds, with what items vary from seed to seed."""
    baseline_seeds: float
    """From seeds of the baseline that are not paired with those of the variant."""
    items: float
    """From the items that all seeds share."""


class ErrorNumbers(NamedTuple):
    """Number of draws from which each of `ErrorParts` comes."""

    seeds: int
    """Of the variant."""
    baseline_seeds: int
    """Of the baseline's own."""
    clusters: int
    """Of items."""


@dataclass(frozen=True)
class CrossedEstimate:
    """A mean over seeds and clusters with the parts of its error; intervals and p-values agree with each other.

    half width^2 at a level: max(t_seeds^2 * of_seeds + t_baseline^2 * of_baseline_seeds + t_items^2 * of_items,
                                 t_items^2 * of_mean)

    with t_seeds, t_baseline and t_items the quantiles (1 + level) / 2 of t with n_seeds - 1, n_baseline_seeds - 1 and
    n_clusters - 1 degrees of freedom. It is the t interval over seeds if the items have no part that seeds share, and
    at least the t interval over items of these very seeds: a few seeds that agree by chance do not make the mean exact.
    A sum of the errors with degrees of freedom of its own (Satterthwaite) covers too little: 88 % with two seeds.
    """

    value: float
    of_seeds: float
    """Squared standard error that follows from the variance of the seeds' means: var(mean_s) / S."""
    of_items: float
    """Squared standard error from the items that seeds share: item component / C, at least 0."""
    n_seeds: int
    n_clusters: int
    of_mean: float = 0.0
    """Squared standard error of the mean over these seeds for other items."""
    of_baseline_seeds: float = 0.0
    """Squared standard error from seeds of the baseline's own: var(mean_t) / T; 0 without any."""
    n_baseline_seeds: int = 2
    """Number of these seeds; it has no effect if they add no error."""

    @property
    def parts(self) -> ErrorParts:
        """Return parts of the squared standard error that add up to it.

        Where `of_mean` exceeds the sum, the means of the seeds varied less than their items let expect. The seeds'
        parts are then what the items have from seed to seed, of_mean - of_items.
        """
        of_seeds = self.of_seeds + self.of_baseline_seeds
        expected = max(of_seeds, self.of_mean - self.of_items)
        share = self.of_baseline_seeds / of_seeds if of_seeds else 0.0
        return ErrorParts(expected * (1 - share), expected * share, self.of_items)

    @property
    def standard_error(self) -> float:
        """Of the mean, for other seeds and other items."""
        return math.sqrt(max(self.of_seeds + self.of_baseline_seeds + self.of_items, self.of_mean))

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval of the mean at a level."""
        check_level(level)
        half = self._half_width((1 - level) / 2)
        return Interval(self.value - half, self.value + half)

    def p_above(self, limit: float) -> float:
        """Return the one-sided p-value of the hypothesis that the mean is at most `limit`; at least 1e-100.

        It is the tail at which an end of the interval is at the limit. Without any error it is 1 up to the estimate.
        """
        distance = self.value - limit
        if self.standard_error == 0:
            return SMALLEST_TAIL if distance > 0 else 1.0
        tail = self._tail(abs(distance))
        return tail if distance > 0 else 1.0 - tail

    def p_worse(self, margin: float) -> float:
        """Return the one-sided p-value of the hypothesis that the mean is at most -margin."""
        return self.p_above(-margin)

    @property
    def p_value(self) -> float:
        """Return the two-sided p-value of the hypothesis that the mean is 0."""
        return min(1.0, 2 * min(self.p_above(0.0), self.mirrored.p_above(0.0)))

    @property
    def mirrored(self) -> "CrossedEstimate":
        """Return the estimate of the negative mean."""
        return replace(self, value=-self.value)

    @property
    def of_the_baseline(self) -> "CrossedEstimate":
        """Return the estimate with its seeds as those of the baseline, and none of the variant."""
        moved = replace(self, of_baseline_seeds=self.of_seeds, n_baseline_seeds=self.n_seeds)
        return replace(moved, of_seeds=0.0, n_seeds=2)

    def _half_width(self, tail: float) -> float:
        numbers = (self.n_seeds, self.n_baseline_seeds, self.n_clusters)
        squares = [float(special.stdtrit(n - 1, tail)) ** 2 for n in numbers]
        errors = (self.of_seeds, self.of_baseline_seeds, self.of_items)
        of_all = sum(square * error for square, error in zip(squares, errors, strict=True))
        return math.sqrt(max(of_all, squares[2] * self.of_mean))

    def _tail(self, distance: float) -> float:
        """Return the tail, in (0, 0.5], at which the half width is the distance."""

        def excess(log_tail: float) -> float:
            return self._half_width(math.exp(log_tail)) - distance

        ends = (math.log(SMALLEST_TAIL), math.log(0.5))
        if excess(ends[0]) <= 0:
            return SMALLEST_TAIL
        return 0.5 if distance == 0 else math.exp(float(optimize.brentq(excess, *ends, xtol=1e-12)))


def crossed_estimate(values: Array) -> CrossedEstimate:
    """Return the mean of a table of seeds and clusters with its error.

    Args:
        values: [S, C].
    Raises:
        BadInputError: there are fewer than two seeds or clusters.
        PermanentError: a value is not finite.
    """
    components = variance_components(values)
    n_seeds, n_clusters = values.shape
    seeds = values.mean(axis=1)
    of_seeds = float(seeds.var(ddof=1)) / n_seeds
    of_mean = float(values.mean(axis=0).var(ddof=1)) / n_clusters
    return CrossedEstimate(float(seeds.mean()), of_seeds, components.item / n_clusters, n_seeds, n_clusters, of_mean)


def parts_of_interval(standard_error: float, half_width: float, *, n_seeds: int, n_clusters: int) -> ErrorParts:
    """Return the parts of the error of seeds and items that follow from a 95 % interval of `CrossedEstimate`.

    of_seeds = (half_width^2 - t_items^2 * standard_error^2) / (t_seeds^2 - t_items^2), between 0 and the whole error
    """
    of_all = standard_error**2
    t_seeds, t_items = (float(special.stdtrit(n - 1, 0.025)) ** 2 for n in (n_seeds, n_clusters))
    if t_seeds <= t_items:
        return ErrorParts(0.0, 0.0, of_all)
    of_seeds = min(of_all, max(0.0, (half_width**2 - t_items * of_all) / (t_seeds - t_items)))
    return ErrorParts(of_seeds, 0.0, of_all - of_seeds)


def unpaired_estimate(by_seed: Array, by_baseline_seed: Array) -> CrossedEstimate:
    """Return the mean difference of variants and baselines that have seeds of their own, with its error.

    The items' part is that of the mean over all seeds less what items vary from seed to seed on either side:
    max(0, MS_item - MS_rest / S - MS_rest' / T) / C.

    Args:
        by_seed: [S, C], the mean over the baseline's seeds for each seed of the variant.
        by_baseline_seed: [T, C], the mean over the variant's seeds for each seed of the baseline, with the same mean of
            each cluster.
    Raises:
        BadInputError: there are fewer than two seeds or clusters.
        PermanentError: a value is not finite.
        ShapeError: the clusters differ.
    """
    if by_seed.shape[1:] != by_baseline_seed.shape[1:]:
        message = "two tables of seeds have different clusters"
        raise ShapeError(message, expected=by_seed.shape[1:], got=by_baseline_seed.shape[1:])
    own, others = crossed_estimate(by_seed), crossed_estimate(by_baseline_seed)
    of_rest = sum(variance_components(values).residual / values.size for values in (by_seed, by_baseline_seed))
    return replace(
        own,
        of_items=max(0.0, own.of_mean - of_rest),
        of_baseline_seeds=others.of_seeds,
        n_baseline_seeds=others.n_seeds,
    )


def variance_components(values: Array) -> VarianceComponents:
    """Return the components of a table of seeds and clusters by analysis of variance, negative ones as 0.

    seed = (MS_seed - MS_residual) / C,   item = (MS_item - MS_residual) / S,   residual = MS_residual

    with the mean squares of a two-way layout without replication, S - 1, C - 1 and (S - 1)(C - 1) degrees of freedom.

    Args:
        values: [S, C].
    Raises:
        BadInputError: there are fewer than two seeds or clusters.
        PermanentError: a value is not finite.
    """
    _check(values, n_axes=2)
    n_seeds, n_clusters = values.shape
    of_seeds, of_items = (values.mean(axis=axis, keepdims=True) for axis in (1, 0))
    residual = _mean_square(values - of_seeds - of_items + values.mean(), (n_seeds - 1) * (n_clusters - 1))
    seed = float(of_seeds.var(ddof=1)) - residual / n_clusters
    item = float(of_items.var(ddof=1)) - residual / n_seeds
    return VarianceComponents(max(0.0, seed), max(0.0, item), residual)


def language_component(values: Array) -> float:
    """Return the variance over languages of their true differences, at least 0: the other two factors are removed.

    (MS_l - MS_sl - MS_lc + MS_slc) / (S C) in the analysis of variance of seeds, languages and clusters

    Args:
        values: [S, L, C].
    Raises:
        BadInputError: there are fewer than two seeds, languages or clusters.
        PermanentError: a value is not finite.
    """
    _check(values, n_axes=3)
    n_seeds, n_languages, n_clusters = values.shape
    of_languages = values.mean(axis=(0, 2))
    by_seed, by_cluster = values.mean(axis=2), values.mean(axis=0).T
    seed_residual, cluster_residual = (variance_components(table).residual for table in (by_seed, by_cluster))
    three_way = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) - by_seed[..., None]
    three_way = three_way + values.mean(axis=(0, 1)) + of_languages[:, None] + values.mean(axis=(1, 2))[:, None, None]
    degrees = (n_seeds - 1) * (n_languages - 1) * (n_clusters - 1)
    residual = _mean_square(three_way - values.mean(), degrees)
    noise = seed_residual / n_seeds + cluster_residual / n_clusters - residual / (n_seeds * n_clusters)
    return float(max(0.0, of_languages.var(ddof=1) - noise))


def pseudo_values(value: float, left_out: Array) -> Array:
    """Return the jackknife's pseudo-value of each cluster, [C]: C * value - (C - 1) * (value without the cluster).

    Args:
        left_out: [C].
    """
    n = len(left_out)
    return np.asarray(n * value - (n - 1) * left_out)


def deviation_interval(deviation: float, n: int, *, level: float = 0.95) -> Interval:
    """Return the interval of a standard deviation of n normal values (divisor n - 1).

    sqrt((n - 1) * deviation^2 / chi2), with the quantiles (1 +- level) / 2 of chi-square with n - 1 degrees of freedom.
    The ends are 0.45 and 32 times the deviation of two values, 0.60 and 2.9 times that of five.

    Raises:
        BadInputError: there are fewer than two values.
    """
    check_level(level)
    if n < 2:
        raise BadInputError("a deviation needs two values", expected="n >= 2", got=n)
    scaled = deviation * math.sqrt(n - 1)
    high, low = (math.sqrt(float(special.chdtri(n - 1, tail))) for tail in ((1 - level) / 2, (1 + level) / 2))
    return Interval(scaled / high, scaled / low)


def two_way_resamples(resampled: Array, *, seed: int = 1) -> Array:
    """Return the mean over resampled seeds of resampled clusters, [R]: both are drawn with replacement.

    Resample r draws the seeds in row r of one call of `Generator(PCG64(seed)).integers(0, S, size=(R, S))`. Its
    variance over S seeds is (S - 1) / S of what it estimates, 4/5 for five; the residual component counts about three
    times (Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1, 2007).

    Args:
        resampled: [R, S], the value of each seed for each resample of the clusters; all seeds have the same clusters.
        seed: seed of the generator.
    Raises:
        ShapeError: the resamples are not a matrix, or empty.
    """
    if resampled.ndim != 2 or not resampled.size:
        raise ShapeError("resamples are not a matrix", expected="[resamples, seeds]", got=resampled.shape)
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, resampled.shape[1], size=resampled.shape)
    return np.asarray(np.take_along_axis(resampled, drawn, axis=1).mean(axis=1))


def _mean_square(residuals: Array, degrees_of_freedom: int) -> float:
    return float((residuals**2).sum()) / degrees_of_freedom


def _check(values: Array, *, n_axes: int) -> None:
    if values.ndim != n_axes or min(values.shape) < 2:
        raise BadInputError("too few values for variance components", expected="at least 2 of each", got=values.shape)
    if not np.isfinite(values).all():
        raise PermanentError("a difference is not finite", n_wrong=int((~np.isfinite(values)).sum()))
