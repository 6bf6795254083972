"""Score interval of a difference when few clusters changed: clusters that did not change yet are taken into account."""

from functools import lru_cache

import numpy as np
from scipy import special

from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import Interval, check_level, sized_clusters

FEW_CHANGED_CLUSTERS = 30
"""From this number of contributing clusters on, the sign-flip interval is used alone."""
EQUAL = 1e-9
"""Share of a cluster's size by which a contribution may differ from its largest value."""


def score_interval(contributions: Array, sizes: Array, *, level: float, bound: float) -> Interval:
    """Invert a score test whose variance is estimated under the hypothesis, with clusters as units.

    For a hypothesised difference x, e_c = d_c - x * m_c. The most likely distribution of e with mean 0 has the observed
    values and the two extremes (+-bound - x) * u as its support. u is the size of a change that was not observed,

    u = (t^2 + sum(d^2) / bound^2) / (t + sum(|d|) / bound),   t = sum(m^2) / sum(m),

    between a typical cluster t and the changes that were observed. The weights are p_c = 1 / (C * (1 + l * e_c)); if
    they add up to less than 1, one extreme has the rest. With V the sum of e^2 under these weights, the interval has
    all x with (sum e_c)^2 <= z^2 * C * V.

    With one item per cluster and 0/1 credit this is Tango's score interval (Statistics in Medicine 17, 1998). Without
    any change and with clusters of one size it is +-bound * z^2 / (C + z^2).

    The ends are found on a grid of 65 values between the estimate and the bound, which is refined 6 times around the
    end; l by 40 bisections.

    Args:
        contributions: d, [C], |d| <= bound * m.
        sizes: m, [C], above 0.
        level: coverage, in (0, 1).
        bound: largest possible |d| / m.
    """
    return score_intervals(contributions, sizes, levels=(level,), bound=bound)[0]


def score_intervals(
    contributions: Array, sizes: Array, *, levels: tuple[float, ...], bound: float
) -> tuple[Interval, ...]:
    """Return `score_interval` for several levels, which are searched for together."""
    points, weights, unit = _summary(contributions, sizes, bound)
    squared = tuple(float(special.ndtri((1 + level) / 2)) ** 2 for level in levels)
    highs = _upper_ends(points, weights, squared_z=squared, unit=unit, bound=bound)
    lows = _upper_ends(points * (-1.0, 1.0), weights, squared_z=squared, unit=unit, bound=bound)
    return tuple(Interval(-low, high) for low, high in zip(lows, highs, strict=True))


def sparse_interval(contributions: Array, sizes: Array, *, level: float, bound: float) -> Interval:
    """Return the interval for few contributing clusters: `score_interval`, and the exact bound of what was not seen.

    If clusters contribute +-bound * m or nothing, they count as n = sum(m) / u items with u = sum(m^2) / sum(m), of
    which k = -sum(d) / (bound * u) are lost in total. For k >= 0 the low end is at most -bound * q with
    P(X <= k) = (1 - level) / 2 for X ~ Binomial(n, q): no item might be gained. The high end is the mirror image.

    Args: as in `score_interval`.
    """
    return sparse_intervals(contributions, sizes, levels=(level,), bound=bound)[0]


def sparse_intervals(
    contributions: Array, sizes: Array, *, levels: tuple[float, ...], bound: float
) -> tuple[Interval, ...]:
    """Return `sparse_interval` for several levels, which are searched for together."""
    intervals = score_intervals(contributions, sizes, levels=levels, bound=bound)
    net = net_items(contributions, sizes, bound=bound)
    if net is None:
        return intervals
    return tuple(
        _with_unseen(interval, *net, level=level, bound=bound)
        for interval, level in zip(intervals, levels, strict=True)
    )


def _with_unseen(interval: Interval, n_gained: float, n: float, *, level: float, bound: float) -> Interval:
    """Return an interval that also covers the exact bound of `sparse_interval`."""
    low, high, alpha = interval.low, interval.high, (1 - level) / 2
    if n_gained <= 0:
        low = min(low, -bound * binomial_bound(-n_gained, n, alpha))
    if n_gained >= 0:
        high = max(high, bound * binomial_bound(n_gained, n, alpha))
    return Interval(low, high)


def boundary_interval(value: float, sizes: Array, *, least: float, greatest: float, level: float = 0.95) -> Interval:
    """Return a score interval for a metric at the end of its range, where all resamples are equal.

    The share (value - least) / (greatest - least) gets Wilson's interval with n = sum(m)^2 / sum(m^2) clusters; at an
    end its width is z^2 / (n + z^2) of the range.

    Args:
        value: the metric, within its range.
        sizes: m, [C].
        least: lowest possible value.
        greatest: highest possible value.
        level: coverage, in (0, 1).
    """
    check_level(level)
    _, m = sized_clusters(np.zeros_like(sizes), sizes)
    n, z = float(m.sum() ** 2 / (m**2).sum()), float(special.ndtri((1 + level) / 2))
    share = (value - least) / (greatest - least)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return Interval(float(least + low * (greatest - least)), float(least + high * (greatest - least)))


def net_items(contributions: Array, sizes: Array, *, bound: float) -> tuple[float, float] | None:
    """Return the gained minus the lost and all clusters as items, see `sparse_interval`; None if some change partly."""
    changes = np.abs(contributions)
    is_whole = (changes == 0) | (np.abs(changes - bound * sizes) <= bound * sizes * EQUAL)
    if not is_whole.all():
        return None
    unit = float((sizes**2).sum() / sizes.sum())
    return float(contributions.sum()) / (bound * unit), float(sizes.sum()) / unit


def binomial_tail(successes: float, n: float, chance: float) -> float:
    """Return P(X <= successes), X ~ Binomial(n, chance), continued to fractions by the incomplete beta function."""
    return 1.0 if successes >= n else float(special.betainc(n - successes, successes + 1, 1 - chance))


def binomial_bound(successes: float, n: float, alpha: float) -> float:
    """Return the chance u with P(X <= successes) = alpha for X ~ Binomial(n, u)."""
    return 1.0 if successes >= n else float(special.betaincinv(successes + 1, n - successes, 1 - alpha))


def is_sparse(contributions: Array, sizes: Array, *, bound: float) -> bool:
    """Return whether fewer than 30 clusters differ from "no change", or from the largest gain or loss.

    Random signs then show little of what the other clusters could have been. Without it, clusters that all change from
    wrong to right would have an interval of zero width.
    """
    extremes = (0.0, bound, -bound)
    return any(
        int(np.count_nonzero(np.abs(contributions - extreme * sizes) > abs(extreme) * sizes * EQUAL))
        < FEW_CHANGED_CLUSTERS
        for extreme in extremes
    )


def squared_score(contributions: Array, sizes: Array, *, difference: float, bound: float) -> float:
    """Return (sum e_c)^2 / (C * V) of `score_interval`; the interval has the differences where it is at most z^2."""
    from mlprune.numeric.statistics.score_search import squared_score_of  # noqa: PLC0415 - loads numba

    points, weights, unit = _summary(contributions, sizes, bound)
    return float(squared_score_of(points, weights, float(difference), (unit, float(bound))))


def _summary(contributions: Array, sizes: Array, bound: float) -> tuple[Array, Array, float]:
    """Return the different clusters [U, 2], how many there are of each [U], and the size u of an unobserved change."""
    typical = float((sizes**2).sum() / sizes.sum())
    changes = np.abs(contributions) / bound
    unit = float((typical**2 + (changes**2).sum()) / (typical + changes.sum()))
    points, counts = np.unique(np.stack([contributions, sizes], axis=1), axis=0, return_counts=True)
    return points, counts.astype(np.float64), unit


def _upper_ends(
    points: Array, counts: Array, *, squared_z: tuple[float, ...], unit: float, bound: float
) -> tuple[float, ...]:
    """Return the largest accepted difference at each level; those of the same clusters are not searched for again.

    Evaluations of few items, or with few changes, have the same few sets of clusters many times over.
    """
    unsigned = points + 0.0  # without -0.0, which a mirrored cluster that did not change would have
    return _found_upper_ends(unsigned.tobytes(), counts.tobytes(), squared_z, unit, bound)


@lru_cache(maxsize=1024)
def _found_upper_ends(
    points_bytes: bytes, counts_bytes: bytes, squared_z: tuple[float, ...], unit: float, bound: float
) -> tuple[float, ...]:
    """Search for `_upper_ends`, each level on grids of its own."""
    from mlprune.numeric.statistics.score_search import upper_end  # noqa: PLC0415 - loads numba

    points, counts = np.frombuffer(points_bytes).reshape(-1, 2), np.frombuffer(counts_bytes)
    totals = counts @ points
    start = min(float(totals[0] / totals[1]), bound)
    scales = float(unit), float(bound)
    return tuple(float(upper_end(points, counts, start, limit, scales)) for limit in squared_z)
