"""Non-inferiority and equivalence: is a difference above -margin, or within +-margin?

A difference is non-inferior at 5 % if the low end of the 90 % interval is above -margin, and equivalent (two one-sided
tests) if the whole interval is within +-margin. Each p-value and its interval belong to one test.
"""

from scipy import special

from mlprune.errors import BadInputError
from mlprune.numeric.statistics.cluster_score import binomial_bound, binomial_tail
from mlprune.numeric.statistics.interval import SMALLEST_P_VALUE, Interval
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
        p_value = max(p_value, binomial_tail(n_net, n, margin))
    return _positive(p_value)


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
