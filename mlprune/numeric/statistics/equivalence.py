"""Non-inferiority and equivalence: is a difference above -margin, or within +-margin?

A difference is non-inferior at 5 % if the low end of the 90 % interval is above -margin, and equivalent (two one-sided
tests) if the whole interval is within +-margin. Each p-value and its interval belong to one test.
"""

import numpy as np
from scipy import special

from mlprune.errors import BadInputError, PermanentError
from mlprune.numeric.statistics.interval import SMALLEST_P_VALUE, Interval, check_level
from mlprune.numeric.statistics.paired_proportions import tango_interval, tango_scores


def noninferiority_p_value(n_gained: float, n_lost: float, n: float, *, margin: float) -> float:
    """Return the one-sided p-value of the null hypothesis that the difference of paired proportions is <= -margin.

        p = max(Phi(-z(-margin)), P(X <= c - b)),  X ~ Binomial(n, margin)

    z is Tango's score (`tango_scores`). The second term, 0 if b > c, is the exact p-value if no item can be gained. It
    keeps the level where few items change: for 150 items, Tango's test alone has a level of up to 6.8 % there.

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
        p_value = max(p_value, _binomial_tail(n_net, n, margin))
    return _positive(p_value)


def equivalence_p_value(n_gained: float, n_lost: float, n: float, *, margin: float) -> float:
    """Return the p-value of two one-sided tests that the difference of paired proportions is within +-margin.

    p is the larger p-value of non-inferiority in both directions; arguments and errors as there.
    """
    return max(
        noninferiority_p_value(n_gained, n_lost, n, margin=margin),
        noninferiority_p_value(n_lost, n_gained, n, margin=margin),
    )


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
        low = min(low, -_binomial_bound(n_lost - n_gained, n, alpha))
    if n_gained >= n_lost:
        high = max(high, _binomial_bound(n_gained - n_lost, n, alpha))
    return Interval(low, high)


def noninferiority_p_value_of_estimate(
    difference: float, standard_error: float, *, margin: float, n_clusters: int
) -> float:
    """Return the one-sided p-value of the null hypothesis that an estimated difference d is <= -margin.

    P(T >= (d + margin) / se), T with Student's t distribution of C - 1 degrees of freedom. If no cluster differs from
    another (se = 0), p = ((1 - margin) / (1 + d))^C for d > -margin, else 1: the largest probability that C clusters
    all have the value d, if values are at least -1 and have the mean -margin. A single cluster, or an infinite
    standard error, gives p = 1. Where few items change, the standard error is too small: count such items with
    `effective_pairs` and use `noninferiority_p_value`.

    Args:
        difference: d, finite; in [-1, 1] if the standard error is 0.
        standard_error: se >= 0.
        margin: > 0.
        n_clusters: C, number of independent clusters.
    Raises:
        BadInputError: the margin is not positive.
        PermanentError: the difference is not finite, or the standard error is negative.
    """
    if not margin > 0:
        raise BadInputError("a margin is out of range", expected="above 0", got=margin)
    _check_estimate(difference, standard_error)
    if n_clusters < 2 or standard_error == np.inf:
        return 1.0
    if standard_error > 0:
        return _positive(float(special.stdtr(n_clusters - 1, -(difference + margin) / standard_error)))
    if difference <= -margin:
        return 1.0
    return _positive((max(0.0, 1 - margin) / (1 + difference)) ** n_clusters)


def equivalence_p_value_of_estimate(
    difference: float, standard_error: float, *, margin: float, n_clusters: int
) -> float:
    """Return the p-value of two one-sided tests that an estimated difference is within +-margin.

    p is the larger p-value of non-inferiority in both directions; arguments and errors as there.
    """
    return max(
        noninferiority_p_value_of_estimate(d, standard_error, margin=margin, n_clusters=n_clusters)
        for d in (difference, -difference)
    )


def estimate_interval(difference: float, standard_error: float, *, n_clusters: int, level: float = 0.90) -> Interval:
    """Return the interval that inverts `noninferiority_p_value_of_estimate` in both directions.

    d -+ t * se, with t the (1 + level) / 2 quantile of Student's t distribution of C - 1 degrees of freedom. If se = 0:
    from (1 + d) a^(1/C) - 1 to 1 - (1 - d) a^(1/C), with a = (1 - level) / 2. A single cluster, or an infinite standard
    error, gives the whole line.

    Raises:
        BadInputError: the level is out of range.
        PermanentError: the difference is not finite, or the standard error is negative.
    """
    check_level(level)
    _check_estimate(difference, standard_error)
    if n_clusters < 2 or standard_error == np.inf:
        return Interval(-np.inf, np.inf)
    if standard_error > 0:
        distance = float(special.stdtrit(n_clusters - 1, (1 + level) / 2)) * standard_error
        return Interval(difference - distance, difference + distance)
    root = ((1 - level) / 2) ** (1 / n_clusters)
    return Interval((1 + difference) * root - 1, 1 - (1 - difference) * root)


def _binomial_tail(successes: float, n: float, chance: float) -> float:
    """Return P(X <= successes), X ~ Binomial(n, chance), continued to fractions by the incomplete beta function."""
    return 1.0 if successes >= n else float(special.betainc(n - successes, successes + 1, 1 - chance))


def _binomial_bound(successes: float, n: float, alpha: float) -> float:
    """Return the chance u with P(X <= successes) = alpha for X ~ Binomial(n, u)."""
    return 1.0 if successes >= n else float(special.betaincinv(successes + 1, n - successes, 1 - alpha))


def _positive(p_value: float) -> float:
    return min(max(p_value, SMALLEST_P_VALUE), 1.0)


def _check_margin(margin: float) -> None:
    if not 0 < margin < 1:
        raise BadInputError("a margin is out of range", expected="0 < margin < 1", got=margin)


def _check_estimate(difference: float, standard_error: float) -> None:
    if not np.isfinite(difference) or not standard_error >= 0:
        raise PermanentError("an estimate is undefined", difference=difference, standard_error=standard_error)
