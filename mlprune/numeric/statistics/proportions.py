"""Proportions of right answers: Wilson's interval, effective size of clustered items, test against chance."""

from collections import Counter
from collections.abc import Hashable, Iterable
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import (
    SMALLEST_P_VALUE,
    Interval,
    check_level,
    cluster_sums,
    exact_products,
    exactly_summable,
)
from mlprune.numeric.statistics.sign_flips import sign_flips
from mlprune.numeric.statistics.subset_sums import TOLERANCE

Codes = NDArray[np.int64]

N_POISSON_ENDS = 3
"""Up to this number of right or wrong items, the end near 0 or 1 is that of a Poisson count."""
SHRINKAGE = 16.0
"""Weight of one right or wrong item in an estimated design effect, where the worst case has the weight of a cluster."""


def wilson_interval(n_right: float, n: float, *, level: float = 0.95) -> Interval:
    """Return one interval of `wilson_intervals`."""
    low, high = wilson_intervals(n_right, n, level=level)
    return Interval(float(low), float(high))


def wilson_intervals(n_right: ArrayLike, n: ArrayLike, *, level: float = 0.95) -> tuple[Array, Array]:
    """Return the low and high ends of Wilson's score interval for a proportion, modified at 0 and 1.

    With p = x / n and z the normal quantile of (1 + level) / 2:
        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    For 0 < x <= 3, the low end is at most g / n, with g the (1 - level) quantile of the gamma distribution of shape x:
    the mean of a Poisson count that reaches x with a probability of 1 - level. For 0 < n - x <= 3, the high end is the
    mirror image. Without this change, coverage falls to 84 % where 0.18 wrong items are expected (Brown, Cai &
    DasGupta, Statistical Science 16 (2001) 101-133, section 4.1.1; they use it up to x = 2 for n <= 50).

    Args:
        n_right: x, in [0, n]; fractions are allowed.
        n: number of items, or their effective number, > 0; broadcast with `n_right`.
        level: coverage, in (0, 1).
    Raises:
        BadInputError: an argument is out of range.
    """
    check_level(level)
    right, size = np.broadcast_arrays(np.asarray(n_right, dtype=np.float64), np.asarray(n, dtype=np.float64))
    is_wrong = ~((size > 0) & (right >= 0) & (right <= size * (1 + 1e-9)))
    if is_wrong.any():
        got = (float(right[is_wrong][0]), float(size[is_wrong][0]))
        raise BadInputError("not a count of right items", expected="0 <= n_right <= n, n > 0", got=got)
    right = np.minimum(right, size)
    return _low_end(right, size, level=level), 1 - _low_end(size - right, size, level=level)


def effective_size(credit: Array, clusters: Codes) -> float:
    """Return the number of independent items that would determine a proportion as well as these clustered items.

        n_e = n / D * (t(n - 1) / t(f))^2, at most n
        D = (a^2 + 16 k max(1, d)) / (a + 16 k)
        d = C / (C - 1) * sum_c S_c^2 / (n / (n - 1) * n p (1 - p)),  S_c = sum over cluster c of (credit - p)
        a = sum_c m_c^2 / n,  f = max(1, (sum_c m_c^2)^2 / sum_c m_c^4 - 1)

    p is the mean credit, m_c the items of cluster c, k = n min(p, 1 - p), and t(f) the 0.975 quantile of Student's t. d
    estimates the design effect. a is the design effect if all items of a cluster are alike; it replaces d where no item
    is right or all are (k = 0), because such data do not show whether clusters matter. f counts clusters of equal
    size; the ratio of t quantiles is the adjustment of Korn & Graubard (Survey Methodology 24 (1998) 193-201). Without
    clusters n_e = n.

    Args:
        credit: [n], in [0, 1].
        clusters: [n], the number of the item's cluster, from 0 without gaps.
    Raises:
        ShapeError: the arguments differ in shape, or are empty.
        PermanentError: a credit is outside [0, 1].
    """
    _check_credit(credit, clusters)
    p = float(credit.mean())
    n_rarer = float(min(credit.sum(), (1 - credit).sum()))
    return len(credit) / design_effect(credit - p, clusters, variance=p * (1 - p), weight=SHRINKAGE * n_rarer)


def design_effect(residuals: Array, clusters: Codes, *, variance: float, weight: float) -> float:
    """Return the factor by which clusters widen the variance of a mean, >= 1; formula: see `effective_size`.

    Args:
        residuals: [n], values minus their mean.
        clusters: [n], the number of the item's cluster, from 0 without gaps.
        variance: variance of one item if all are independent.
        weight: weight of the estimate; that of the worst case is the size of a typical cluster.
    """
    n, sizes = len(residuals), np.bincount(clusters).astype(np.float64)
    if len(sizes) == n:
        return 1.0
    sums = cluster_sums(residuals[:, None], clusters)[:, 0]
    alike = float((sizes**2).sum()) / n
    estimate = 1.0
    if len(sizes) > 1 and variance > 0:
        estimate = len(sizes) / (len(sizes) - 1) * float((sums**2).sum()) / (n / (n - 1) * n * variance)
    weight = weight if len(sizes) > 1 else 0.0
    shrunk = (alike**2 + weight * max(1.0, estimate)) / (alike + weight)
    freedom = max(1.0, (sizes**2).sum() ** 2 / (sizes**4).sum() - 1)
    return max(1.0, shrunk * float(special.stdtrit(freedom, 0.975) / special.stdtrit(n - 1, 0.975)) ** 2)


def chance_p_value(credit: Array, chances: Array, clusters: Codes) -> float:
    """Return the one-sided p-value of the null hypothesis that the answers are not better than chance.

    Independent items with credit 0 or 1: P(S >= sum of credit), S the sum of independent Bernoulli variables with the
    probabilities `chances` (Poisson-binomial distribution), exact, at least 2.2e-308.

    Clustered items, or shared credit: the share of sign vectors s with sum_c s_c D_c >= sum_c D_c, D_c the sum of
    credit - chance over cluster c, and s from `sign_flips(C)`, the observed signs among them: at least 1 / 10,000, or
    2^-C up to 13 clusters. Sums are equal if they differ by at most 1e-9 sum_c |D_c|.

    Args:
        credit: [n], in [0, 1].
        chances: [n], in [0, 1]: 1 / candidates, or the share of the majority class.
        clusters: [n], the number of the item's cluster, from 0 without gaps.
    Raises:
        ShapeError: the arguments differ in shape, or are empty.
        PermanentError: a credit or a chance is outside [0, 1].
    """
    _check_credit(credit, clusters)
    _check_credit(chances, clusters)
    n_clusters = int(clusters.max()) + 1
    if n_clusters == len(credit) and ((credit == 0) | (credit == 1)).all():
        tail = poisson_binomial(chances)[int(credit.sum()) :].sum()
        return float(np.clip(tail, SMALLEST_P_VALUE, 1.0))
    sums = exactly_summable(cluster_sums((credit - chances)[:, None], clusters), n_clusters)
    totals = exact_products(sign_flips(n_clusters), sums)[:, 0]
    return float((totals >= totals[0] - TOLERANCE * float(np.abs(sums).sum())).mean())


def poisson_binomial(chances: Array) -> Array:
    """Return the probabilities of 0 to n successes in n independent trials, [n + 1].

    Args:
        chances: [n], probability of success of each trial.
    """
    distinct, counts = np.unique(chances, return_counts=True)
    parts = [binomial_chances(int(count), float(chance)) for chance, count in zip(distinct, counts, strict=True)]
    return reduce(np.convolve, parts)


def majority_share(gold: Iterable[Hashable]) -> float:
    """Return the share of the most frequent right answer: the accuracy of a model that always gives this answer.

    Raises:
        PermanentError: `gold` is empty.
    """
    counts = Counter(gold)
    if not counts:
        raise PermanentError("no items: the majority class is undefined")
    return max(counts.values()) / counts.total()


def _low_end(right: Array, size: Array, *, level: float) -> Array:
    z = special.ndtri((1 + level) / 2)
    share = right / size
    half_width = z * np.sqrt(share * (1 - share) / size + (z / (2 * size)) ** 2)
    wilson = (share + z**2 / (2 * size) - half_width) / (1 + z**2 / size)
    is_rare = (right > 0) & (right <= N_POISSON_ENDS)
    poisson = special.gammaincinv(np.where(is_rare, right, 1.0), 1 - level) / size
    end = np.where(is_rare, np.minimum(wilson, poisson), wilson)
    return np.where(right == 0, 0.0, np.clip(end, 0.0, 1.0))


def binomial_chances(n: int, chance: float) -> Array:
    """Return the probabilities of 0 to n successes of a binomial distribution, [n + 1]."""
    successes = np.arange(n + 1)
    log_ways = special.gammaln(n + 1) - special.gammaln(successes + 1) - special.gammaln(n - successes + 1)
    logs = log_ways + special.xlogy(successes, chance) + special.xlog1py(n - successes, -chance)
    return np.asarray(np.exp(logs), dtype=np.float64)


def _check_credit(credit: Array, clusters: Codes) -> None:
    if credit.ndim != 1 or credit.shape != clusters.shape or not credit.size:
        raise ShapeError("credit does not fit the clusters", expected=clusters.shape, got=credit.shape)
    if not ((credit >= 0) & (credit <= 1)).all():
        raise PermanentError("a credit or a chance is out of range", expected="0 to 1", got=float(credit.max()))
