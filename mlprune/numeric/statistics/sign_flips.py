"""Randomisation of paired differences: sign flips and swaps of whole clusters.

Sign-flip test of a paired difference with clusters, and its intervals.

The hypothesis: each cluster's deviation from the hypothesised difference is as likely as its negative. The test then
compares the observed sum with the sums under random signs. Clusters stay whole, so items of a cluster may be dependent,
clusters may differ in size, and credit may be fractional.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.cluster_score import is_sparse, sparse_intervals
from mlprune.numeric.statistics.clusters import Interval, check_level, exact_products, exactly_summable, sized_clusters
from mlprune.numeric.statistics.subset_sums import TOLERANCE, sign_flip_tail

Value = Callable[[Array], Array]
"""Metric of sums of statistics: [..., k] to [...]."""
N_FLIPS = 9999
N_DRAWS = 100
"""Most draws of 9,999 random swaps."""
ENOUGH_EXTREME = 10
"""No more swaps are drawn after this number of swaps that are as extreme as the observed difference."""
NARROW_LEVEL = 0.90
"""Coverage of the interval of two one-sided tests at 5 %."""
RESOLVED = 0.01
"""A p-value that random sign vectors put below this is computed from all sign vectors (`sign_flip_tail`)."""
EDGE = 1e-12
"""While an interval is computed, the distance of an end from 0 that stands for 0 if the test rejects 0."""


def swapped_values(first: Array, second: Array, value: Value, *, flips: NDArray[np.int8]) -> tuple[Array, Array]:
    """Return value(first) and value(second) after each swap of clusters, both [K, ...]; row 0 is observed.

    Sign -1 swaps the cluster: first_s = (F + S + sum_c s_c * (f_c - g_c)) / 2, with F and S the sums of both systems.

    Args:
        first: f, [C, k], sums of statistics of each cluster for the first system.
        second: g, [C, k], the same clusters for the second system.
        value: one or several metrics of sums.
        flips: [K, C] of `sign_flips`.
    Raises:
        ShapeError: the shapes do not fit.
        PermanentError: a statistic or the metric after a swap is not finite.
    """
    if first.shape != second.shape or first.ndim != 2 or flips.shape[1:] != first.shape[:1] or (flips[0] != 1).any():
        expected = "two of [C, k], sign vectors [K, C], the first all 1"
        raise ShapeError("swaps do not fit", expected=expected, got=(first.shape, second.shape, flips.shape))
    both = exactly_summable(np.concatenate([first, second]), 4 * len(first))
    ours, theirs = both[: len(first)], both[len(first) :]
    total, distances = both.sum(axis=0), exact_products(flips, ours - theirs)
    values = tuple(np.asarray(value((total + sign * distances) / 2), dtype=np.float64) for sign in (1, -1))
    n_wrong = sum(int((~np.isfinite(each)).sum()) for each in values)
    if n_wrong:
        raise PermanentError("a metric after swaps is not finite", n_wrong=n_wrong)
    return values[0], values[1]


def swapped_differences(first: Array, second: Array, value: Value, *, flips: NDArray[np.int8]) -> Array:
    """Return value(first) - value(second) after each swap of clusters, [K, ...]; see `swapped_values`."""
    ours, theirs = swapped_values(first, second, value, flips=flips)
    return ours - theirs


def swap_test(first: Array, second: Array, value: Value, flips: NDArray[np.int8]) -> float:
    """Return the two-sided p-value of value(first) - value(second); see `swap_p_values`.

    For a mean of credit and p >= 0.01 it is the p-value of `sign_flip_test`. Args and Raises: as in `swapped_values`.
    """
    return float(swap_p_values(lambda signs: swapped_differences(first, second, value, flips=signs), flips))


def swap_p_values(differences: Callable[[NDArray[np.int8]], Array], flips: NDArray[np.int8]) -> Array:
    """Return the two-sided p-values of differences under random swaps, [...].

    p = mean over swaps of w: 1 if the swapped difference is larger in absolute value and for the observed assignment,
    1/2 if the two are equal (they differ by at most 1e-9 of the largest one that is drawn with it), 0 otherwise. It is
    1 if the observed difference is 0. While the w of random swaps add up to less than 10 (Besag and Clifford,
    Biometrika 78, 1991), 9,999 more swaps are drawn, with seeds 1 to 99: the smallest p is 1 / 999,901.

    Args:
        differences: sign vectors [K, C] -> swapped differences [K, ...]; the first row is observed.
        flips: [K, C] of `sign_flips`; more are drawn unless they are all 2^C.
    """
    distances = np.abs(differences(flips))
    observed, counts = distances[0], _extreme(distances)
    n_swaps = np.full(counts.shape, len(flips))
    is_zero = observed <= TOLERANCE * distances.max(axis=0)
    n_clusters = flips.shape[1]
    for seed in range(1, N_DRAWS if len(flips).bit_length() <= n_clusters else 1):
        is_rare = (counts < ENOUGH_EXTREME) & ~is_zero
        if not is_rare.any():
            break
        more = np.abs(differences(sign_flips(n_clusters, seed=seed)))
        counts += np.where(is_rare, _extreme(more), 0)
        n_swaps += np.where(is_rare, len(more) - 1, 0)
    return np.where(is_zero, 1.0, (1 + counts) / n_swaps)


def _extreme(distances: Array) -> Array:
    """Count the rows after the first one that are above it, and half of those that are equal, [...] of [K, ...]."""
    tolerance = TOLERANCE * distances.max(axis=0)
    above, equal = distances > distances[0] + tolerance, np.abs(distances - distances[0]) <= tolerance
    return np.asarray(above.sum(axis=0) + 0.5 * (equal.sum(axis=0) - 1))


@dataclass(frozen=True)
class SignFlipResult:
    """Paired difference with its test and interval: p < 1 - level exactly if 0 is outside the interval, or its end."""

    difference: float
    p_value: float
    """Two-sided."""
    interval: Interval
    interval90: Interval
    """90 % interval by the same rule, inside `interval`."""

    def scaled(self, factor: float) -> "SignFlipResult":
        """Return the result for contributions times a positive factor."""
        intervals = (interval.scaled(factor) for interval in (self.interval, self.interval90))
        return SignFlipResult(self.difference * factor, self.p_value, *intervals)


@dataclass(frozen=True)
class _Crossings:
    """The hypothesised differences at which each sign vector is as extreme as the observed signs.

    Sign vector k is at least as extreme as the observed signs if the hypothesis is between `low[k]` and `high[k]`.
    """

    low: Array
    high: Array
    n_tied: int
    """Sign vectors that are as extreme as the observed signs under any hypothesis, with the observed signs."""

    def count(self, difference: float) -> float:
        """Count the sign vectors that are more extreme, and half of those equally extreme, except the observed one."""
        beyond = (self.low < difference) & (difference < self.high)
        equal = (self.low == difference) | (self.high == difference)
        return 1.0 + 0.5 * (self.n_tied - 1) + float(beyond.sum()) + 0.5 * float(equal.sum())

    @property
    def n_flips(self) -> int:
        """All sign vectors."""
        return self.low.size + self.n_tied


def sign_flips(n_clusters: int, *, n_flips: int = N_FLIPS, seed: int = 0) -> NDArray[np.int8]:
    """Return sign vectors of clusters, [K, n_clusters] of 1 and -1; the first one is all 1, the observed signs.

    All variants and languages of a task use the same sign vectors. If 2^C <= n_flips + 1 (by default, 13 clusters), the
    result has all K = 2^C sign vectors: cluster c has sign -1 in row k if bit c of k is set. Otherwise K = n_flips + 1,
    and the rows after the first are 1 - 2 * bits, with bits from one call of
    `Generator(PCG64(seed)).integers(0, 2, size=(n_flips, C), dtype=int8)`.

    Args:
        n_clusters: C.
        n_flips: random sign vectors in addition to the observed one.
        seed: seed of the generator.
    Raises:
        BadInputError: the number of clusters or of sign vectors is below 1.
    """
    if n_clusters < 1 or n_flips < 1:
        raise BadInputError("nothing to flip", expected="n_clusters and n_flips >= 1", got=(n_clusters, n_flips))
    if n_clusters < (n_flips + 1).bit_length():
        rows = np.arange(2**n_clusters)[:, None]
        return (1 - 2 * (rows >> np.arange(n_clusters) & 1)).astype(np.int8)
    generator = np.random.Generator(np.random.PCG64(seed))
    flips = np.ones((n_flips + 1, n_clusters), dtype=np.int8)
    flips[1:] -= 2 * generator.integers(0, 2, size=(n_flips, n_clusters), dtype=np.int8)
    return flips


def sign_flip_test(
    contributions: Array, sizes: Array, flips: NDArray[np.int8], *, level: float = 0.95, bound: float | None = 1.0
) -> SignFlipResult:
    """Test the difference sum(d) / sum(m) of clusters against 0, and invert the test.

    T_s(x) = sum_c s_c * (d_c - x * m_c) for sign vector s;   p(x) = mean over s of w_s(x)

    w is 1 if |T_s(x)| > |T_1(x)| and for the observed signs, 1/2 if the two are equal, and 0 otherwise (mid-p). With A
    the clusters of sign -1, B the others and r = sum(d) / sum(m) over a set of clusters,

    T_1(x)^2 - T_s(x)^2 = 4 * sum(m in A) * sum(m in B) * (r_A - x) * (r_B - x),

    so |T_s(x)| > |T_1(x)| exactly if x is between r_A and r_B. p(x) therefore rises up to the estimate and falls after
    it, and {x: p(x) >= 1 - level} has order statistics of min(r_A, r_B) and max(r_A, r_B) as its ends (Hartigan, 1969,
    "typical values"). An interval that ends at 0 excludes 0 if p < 1 - level. If the estimate is 0, p = 1.

    K random sign vectors do not resolve p-values near 1 / K. A p below 0.01 is therefore replaced by that of all 2^C
    sign vectors (`sign_flip_tail`), at most 0.02, so that no decision at 5 % changes.

    If few clusters have d other than 0 (or m, or -m; `is_sparse`), random subsets are too few values: the interval then
    also covers `sparse_interval`, but 0 only if p >= 1 - level. It never has zero width, and is within [-bound, bound].
    Intervals of one sample nest: all of these ends move outwards with the level.

    Args:
        contributions: d, [C], sum over the items of a cluster of (variant - baseline), or a weighted sum.
        sizes: m, [C], the number of items of a cluster, or the sum of their weights.
        flips: [K, C] of `sign_flips`.
        level: coverage, in (0, 1).
        bound: largest possible |d| / m: 1 for credit. None if it is unlimited; then clusters that all contribute 0
            have the interval [0, 0].
    Raises:
        ShapeError: contributions, sizes and flips do not fit.
        PermanentError: a value is impossible, or a contribution exceeds the bound.
        BadInputError: the level is out of range.
    """
    return sign_flip_tests(contributions[:, None], sizes[:, None], flips, level=level, bound=bound)[0]


def sign_flip_tests(
    contributions: Array, sizes: Array, flips: NDArray[np.int8], *, level: float = 0.95, bound: float | None = 1.0
) -> tuple[SignFlipResult, ...]:
    """Apply `sign_flip_test` to each column of contributions and sizes, both [C, k]; the signs are converted once."""
    check_level(level)
    check_flips(contributions, flips)
    if contributions.shape != sizes.shape:
        raise ShapeError("contributions and sizes differ", expected=sizes.shape, got=contributions.shape)
    n_columns = contributions.shape[1]
    sums = exactly_summable(np.hstack([contributions, sizes]), len(contributions))
    flipped = exact_products(flips, sums)
    is_sampled = len(flips).bit_length() <= len(sums)
    results = []
    for column in range(n_columns):
        d, m = sized_clusters(contributions[:, column], sizes[:, column])
        _check_bound(d, m, bound)
        tolerance = TOLERANCE * float(np.abs(d).sum())
        crossings = _crossings(flipped[:, column], flipped[:, n_columns + column], tolerance=tolerance)
        results.append(_result(d, m, crossings, is_sampled=is_sampled, level=level, bound=bound))
    return tuple(results)


def _crossings(flipped_d: Array, flipped_m: Array, *, tolerance: float) -> _Crossings:
    """Return r_A and r_B in ascending order from [K] sums under each sign vector."""
    total_d, total_m = flipped_d[0], flipped_m[0]
    sums_d = np.stack([total_d - flipped_d, total_d + flipped_d]) / 2
    sums_m = np.stack([total_m - flipped_m, total_m + flipped_m]) / 2
    sums_d[np.abs(sums_d) <= tolerance] = 0.0
    splits = (sums_m > 0).all(axis=0)
    ratios = sums_d[:, splits] / sums_m[:, splits]
    return _Crossings(ratios.min(axis=0), ratios.max(axis=0), int((~splits).sum()))


def _result(
    d: Array, m: Array, crossings: _Crossings, *, is_sampled: bool, level: float, bound: float | None
) -> SignFlipResult:
    """Return the result for the clusters that have a size; `is_sampled` if the crossings are not all 2^C."""
    is_zero = abs(float(d.sum())) <= TOLERANCE * float(np.abs(d).sum())
    p_value = 1.0 if is_zero else crossings.count(0.0) / crossings.n_flips
    if p_value < RESOLVED and is_sampled:
        p_value = min(2 * RESOLVED, sign_flip_tail(d))
    interval, narrow = _intervals(d, m, crossings, levels=(level, NARROW_LEVEL), bound=bound)
    return SignFlipResult(float(d.sum() / m.sum()), p_value, interval, narrow)


def _intervals(
    d: Array, m: Array, crossings: _Crossings, *, levels: tuple[float, ...], bound: float | None
) -> tuple[Interval, ...]:
    limit = math.inf if bound is None else bound
    mirrored = _Crossings(-crossings.high, -crossings.low, crossings.n_tied)
    intervals = []
    for level in levels:
        least = round(1 - level, 12) * crossings.n_flips
        low, high = (_lower_end(each, least, limit=limit) for each in (crossings, mirrored))
        intervals.append(Interval(low, -high))
    if bound is not None and is_sparse(d, m, bound=bound):
        sparse = sparse_intervals(d, m, levels=levels, bound=bound)
        intervals = [
            Interval(widened_end(own.low, other.low), -widened_end(-own.high, -other.high))
            for own, other in zip(intervals, sparse, strict=True)
        ]
    return tuple(Interval(plain_end(one.low), plain_end(one.high)) for one in intervals)


def widened_end(low: float, other: float) -> float:
    """Return the lower one of two lower ends; it stays above 0 if `low` is, so that a rejected 0 is not covered."""
    return min(low, other) if low <= 0 else max(min(low, other), min(low, EDGE))


def plain_end(end: float) -> float:
    """Return the end of an interval, 0 (not -0) if it is within 1e-12 of it."""
    return 0.0 if abs(end) <= EDGE else end


def _lower_end(crossings: _Crossings, least: float, *, limit: float) -> float:
    """Return the smallest difference whose count is at least `least`: an order statistic of the lower crossings."""
    needed = least - 1.0 - 0.5 * (crossings.n_tied - 1)
    if needed <= 0:
        return -limit
    end = float(np.partition(crossings.low, math.ceil(needed) - 1)[math.ceil(needed) - 1])
    return EDGE if end == 0 and crossings.count(end) < least else end


def check_flips(contributions: Array, flips: NDArray[np.int8]) -> None:
    """Refuse sign vectors that do not fit contributions [C, k].

    Raises:
        ShapeError: the two do not fit.
    """
    fits = contributions.ndim == 2 and flips.ndim == 2 and flips.shape[1] == len(contributions)
    if not fits or not len(flips) or (flips[0] != 1).any():
        raise ShapeError("sign vectors do not fit", expected="[K, n_clusters], the first all 1", got=flips.shape)


def _check_bound(d: Array, m: Array, bound: float | None) -> None:
    if bound is not None and (np.abs(d) > bound * m * (1 + TOLERANCE)).any():
        worst = float((np.abs(d) / m).max())
        raise PermanentError("a contribution exceeds what its cluster can change", expected=f"<= {bound}", got=worst)
