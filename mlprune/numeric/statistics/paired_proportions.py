"""Paired proportions: Tango's and McNemar's tests, intervals, and equivalence.

Paired proportions: Tango's score test and the interval that inverts it, exact and mid-p McNemar tests.

Two models answer the same n items. `n_gained` (b) items are right with the first model alone, `n_lost` (c) with the
second model alone; the estimated difference is (b - c) / n.

Non-inferiority and equivalence: is a difference above -margin, or within +-margin?

A difference is non-inferior at 5 % if the low end of the 90 % interval is above -margin, and equivalent (two one-sided
tests) if the whole interval is within +-margin. Each p-value and its interval belong to one test.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from mlprune.errors import BadInputError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.cluster_score import binomial_bound, binomial_tail
from mlprune.numeric.statistics.clusters import SMALLEST_P_VALUE, Interval, check_level, positive_p_values
from mlprune.numeric.statistics.proportions import binomial_chances

Real = TypeVar("Real", float, Array)

N_HALVINGS = 60
"""Bisection steps for the end of an interval: its error is below the rounding of float64."""


def tango_scores(n_gained: ArrayLike, n_lost: ArrayLike, n: ArrayLike, *, difference: ArrayLike = 0.0) -> Array:
    """Return Tango's score statistic z of the null hypothesis that two paired proportions differ by D = `difference`.

    For D >= 0 (for D < 0, exchange b and c and the sign of D and of z):
        z = (b - c - n D) / sqrt(n (2 q + D (1 - D)))
    where q, the probability of a lost item under the null hypothesis, is the larger root of
        2 n q^2 + B q - c D (1 - D) = 0,  B = (2n - b + c) D - b - c.
    z falls as D rises. At D = 0 it is McNemar's (b - c) / sqrt(b + c). If the variance is 0, z is 0 for a numerator of
    0, else infinite. Source: Tango, Statistics in Medicine 17 (1998) 891-908.

    Args:
        n_gained: b >= 0; fractions are allowed, as the counts of clustered items are effective counts.
        n_lost: c >= 0.
        n: number of items, > 0, at least b + c.
        difference: D, in [-1, 1].
    Returns: z of the broadcast arguments.
    Raises:
        BadInputError: an argument is out of range.
    """
    gained, lost, n_items = _counts(n_gained, n_lost, n)
    null = np.asarray(difference, dtype=np.float64)
    if not (np.abs(null) <= 1).all():
        raise BadInputError("a difference of proportions is out of range", expected="-1 to 1", got=difference)
    more, fewer = np.where(null < 0, lost, gained), np.where(null < 0, gained, lost)
    distance = gained - lost - n_items * null
    deviation = _standard_deviation(more, fewer, n_items, np.abs(null))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0, 0.0, distance / deviation)


def tango_p_values(n_gained: ArrayLike, n_lost: ArrayLike, n: ArrayLike, *, difference: ArrayLike = 0.0) -> Array:
    """Return the two-sided p-values 2 * Phi(-|z|) of `tango_scores`, at least 2.2e-308, of the broadcast arguments."""
    scores = tango_scores(n_gained, n_lost, n, difference=difference)
    return positive_p_values(2.0 * special.ndtr(-np.abs(scores)))


def tango_p_value(n_gained: float, n_lost: float, n: float, *, difference: float = 0.0) -> float:
    """Return one p-value of `tango_p_values`."""
    return float(tango_p_values(n_gained, n_lost, n, difference=difference))


def tango_interval(n_gained: float, n_lost: float, n: float, *, level: float = 0.95) -> Interval:
    """Return the interval that inverts Tango's test: all differences with a p-value of at least 1 - level.

    0 is outside if and only if `tango_p_value` is below 1 - level, because the p-value decides on which side of 0 an
    end is searched. The interval always has a width: without discordant items its ends are -+z^2 / (n + z^2), with z
    the normal quantile of (1 + level) / 2. The ends are found by 60 bisections.

    Args:
        n_gained: b >= 0.
        n_lost: c >= 0.
        n: number of items, > 0, at least b + c.
        level: coverage, in (0, 1).
    Raises:
        BadInputError: an argument is out of range.
    """
    check_level(level)
    differs = tango_p_value(n_gained, n_lost, n) < 1 - level
    critical, gained, lost, n_items = float(special.ndtri((1 + level) / 2)), float(n_gained), float(n_lost), float(n)
    if differs and gained > lost:
        return Interval(_end(gained, lost, n_items, -critical), _end(gained, lost, n_items, critical))
    if differs:
        return Interval(-_end(lost, gained, n_items, critical), -_end(lost, gained, n_items, -critical))
    return Interval(-_end(lost, gained, n_items, critical), _end(gained, lost, n_items, critical))


def mcnemar_exact(n_gained: float, n_lost: float) -> float:
    """Return one p-value of `mcnemar_exact_p_values`."""
    return float(mcnemar_exact_p_values(n_gained, n_lost))


def mcnemar_exact_p_values(n_gained: ArrayLike, n_lost: ArrayLike) -> Array:
    """Return the two-sided p-values of McNemar's exact test, at least 2.2e-308, of the broadcast arguments.

    p = min(1, 2 P(X <= k)), k = min(b, c), X ~ Binomial(b + c, 1/2); 1 without discordant items.

    Args:
        n_gained: b, whole numbers >= 0.
        n_lost: c, whole numbers >= 0.
    Raises:
        BadInputError: a count is negative, or not a whole number.
    """
    fewer, discordant = _discordant(n_gained, n_lost)
    return positive_p_values(2.0 * special.bdtr(fewer, discordant, 0.5))


def mcnemar_mid_p(n_gained: float, n_lost: float) -> float:
    """Return one p-value of `mcnemar_mid_p_values`."""
    return float(mcnemar_mid_p_values(n_gained, n_lost))


def mcnemar_mid_p_values(n_gained: ArrayLike, n_lost: ArrayLike) -> Array:
    """Return McNemar's two-sided mid-p values, at least 2.2e-308, of the broadcast arguments.

    p = P(X < k) + P(X <= k), k = min(b, c), X ~ Binomial(b + c, 1/2); 1 if b = c. Source: Fagerland, Lydersen & Laake,
    BMC Medical Research Methodology 13 (2013) 91.

    Args:
        n_gained: b, whole numbers >= 0.
        n_lost: c, whole numbers >= 0.
    Raises:
        BadInputError: a count is negative, or not a whole number.
    """
    fewer, discordant = _discordant(n_gained, n_lost)
    below = np.where(fewer > 0, special.bdtr(np.maximum(fewer - 1, 0), discordant, 0.5), 0.0)
    return positive_p_values(below + special.bdtr(fewer, discordant, 0.5))


def _standard_deviation(gained: Real, lost: Real, n_items: Real, null: Real) -> Real:
    """Return sqrt(n (2 q + D (1 - D))) for D >= 0, see `tango_scores`: numbers or arrays."""
    spread = null * (1 - null)
    deviation: Real = abs(2 * _expected_lost(gained, lost, n_items, null) + n_items * spread) ** 0.5
    return deviation


def _expected_lost(gained: Real, lost: Real, n_items: Real, null: Real) -> Real:
    """Return n q, the expected number of lost items if the difference is D >= 0, by maximum likelihood."""
    linear = (2 * n_items - gained + lost) * null - gained - lost
    root: Real = (linear * linear + 8 * n_items * lost * (null * (1 - null))) ** 0.5
    return (root - linear) / 4


def _end(gained: Real, lost: Real, n_items: Real, critical: Real) -> Real:
    """Return the difference D in [0, 1] with b - c - n D + critical * standard deviation = 0: numbers or arrays."""
    end = 0 * gained
    step = 0.5
    for _ in range(N_HALVINGS):
        null = end + step
        distance = gained - lost - n_items * null
        is_within = distance + critical * _standard_deviation(gained, lost, n_items, null) >= 0
        end = end + step * is_within
        step /= 2
    return end


def _counts(n_gained: ArrayLike, n_lost: ArrayLike, n: ArrayLike) -> tuple[Array, Array, Array]:
    counts = (np.asarray(values, dtype=np.float64) for values in (n_gained, n_lost, n))
    gained, lost, n_items = np.broadcast_arrays(*counts)
    is_wrong = ~((gained >= 0) & (lost >= 0) & (n_items > 0) & (gained + lost <= n_items * (1 + 1e-9)))
    if is_wrong.any():
        first = tuple(float(values[is_wrong][0]) for values in (gained, lost, n_items))
        raise BadInputError(
            "not counts of paired items", expected="gained, lost >= 0, n > 0, gained + lost <= n", got=first
        )
    return gained, lost, n_items


def _discordant(n_gained: ArrayLike, n_lost: ArrayLike) -> tuple[Array, Array]:
    """Return min(b, c) and b + c, checked."""
    gained, lost = np.asarray(n_gained, dtype=np.float64), np.asarray(n_lost, dtype=np.float64)
    for counts in (gained, lost):
        is_wrong = ~((counts >= 0) & (counts == np.floor(counts)))
        if is_wrong.any():
            raise BadInputError(
                "not a count of items", expected="a whole number >= 0", got=float(counts[is_wrong].flat[0])
            )
    return np.minimum(gained, lost), gained + lost


def noninferiority_p_value(n_gained: float, n_lost: float, n: float, *, margin: float) -> float:
    """Return the one-sided p-value of the null hypothesis that the difference of paired proportions is <= -margin.

        p = max(Phi(-z(-margin)), min(1/2, P(X <= c - b))),  X ~ Binomial(n, margin)

    z is Tango's score (`tango_scores`). The second term, 0 if b > c, is the exact p-value if no item can be gained. It
    keeps the level where few items change: for 150 items, Tango's test alone has a level of up to 6.8 % there. It is at
    most 1/2, so that above 1/2, 1 - p is Tango's p-value of the null hypothesis that the difference is >= -margin.

    Args:
        n_gained: b >= 0; fractions are allowed, as the counts of clustered items are effective counts.
        n_lost: c >= 0.
        n: number of items, > 0, at least b + c.
        margin: in (0, 1).
    Raises:
        BadInputError: an argument is out of range.
    """
    _check_margin(margin)
    p_value = float(special.ndtr(-tango_scores(n_gained, n_lost, n, difference=-margin)))
    n_net = n_lost - n_gained
    if n_net >= 0:
        p_value = max(p_value, min(0.5, binomial_tail(n_net, n, margin)))
    return _positive(p_value)


def superiority_p_value(n_gained: float, n_lost: float, n: float, *, margin: float) -> float:
    """Return the one-sided p-value of the null hypothesis that the difference of paired proportions is <= margin.

        p = P(B - C >= b - c),  (B, C, n - B - C) ~ Multinomial(n; q + margin, q, 1 - 2 q - margin)

    q is the most likely share of lost items if the difference is the margin, as in `tango_scores`: an exact test with
    an estimated nuisance parameter (Storer and Kim, JASA 85, 1990). Tango's score alone is significant too often in
    this direction, where few items make the tail: at 0.25 %, its level is up to 2.8 times the nominal one. For 60 to
    1,000 items and margins of 1 to 5 points, the level of this test is 0.6 to 0.97 times the nominal 0.25 to 5 %.

    Args:
        n_gained: b, a whole number >= 0.
        n_lost: c, a whole number >= 0.
        n: number of items, > 0, at least b + c.
        margin: in (0, 1).
    Raises:
        BadInputError: an argument is out of range.
    """
    _check_margin(margin)
    _discordant(n_gained, n_lost)
    gained, lost, n_items = (float(count) for count in _counts(n_gained, n_lost, n))
    chance = min(max(0.0, _expected_lost(gained, lost, n_items, margin)) / n_items, (1 - margin) / 2)
    of_lost = binomial_chances(int(n), chance)
    drawn_lost = np.flatnonzero(of_lost > 0)
    others = n_items - drawn_lost
    fewest = np.maximum(gained - lost + drawn_lost, 0)
    possible = fewest <= others
    tails = special.betainc(fewest[possible], others[possible] - fewest[possible] + 1, (chance + margin) / (1 - chance))
    return _positive(float(of_lost[drawn_lost][possible] @ np.where(fewest[possible] > 0, tails, 1.0)))


def equivalence_interval(n_gained: float, n_lost: float, n: float, *, level: float = 0.90) -> Interval:
    """Return the interval that inverts the tests of non-inferiority at (1 - level) / 2 in each direction.

    The low end is the lower one of that of `tango_interval` and, if c >= b, the exact binomial bound -u with
    P(X <= c - b) = (1 - level) / 2 for X ~ Binomial(n, u); the high end is the mirror image.

    Args:
        n_gained: b >= 0.
        n_lost: c >= 0.
        n: number of items, > 0, at least b + c.
        level: 0.90 for tests at 5 %.
    Raises:
        BadInputError: an argument is out of range.
    """
    interval, alpha = tango_interval(n_gained, n_lost, n, level=level), (1 - level) / 2
    low, high = interval.low, interval.high
    if n_lost >= n_gained:
        low = min(low, -binomial_bound(n_lost - n_gained, n, alpha))
    if n_gained >= n_lost:
        high = max(high, binomial_bound(n_gained - n_lost, n, alpha))
    return Interval(low, high)


def _positive(p_value: float) -> float:
    return min(max(p_value, SMALLEST_P_VALUE), 1.0)


def _check_margin(margin: float) -> None:
    if not 0 < margin < 1:
        raise BadInputError("a margin is out of range", expected="0 < margin < 1", got=margin)
