"""Bootstrap over clusters: resamples, intervals, and the correction of a bias that resampling doubles."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import (
    BLOCK_ROWS,
    Interval,
    check_level,
    exact_products,
    exactly_summable,
    ratio_estimate,
)

N_RESAMPLES = 1999
"""Resamples of an interval. p-values are not counted from them."""
EQUAL = 1e-9
"""Resampled values are equal if they differ by at most this share of the largest absolute value, or by `NOISE`."""
NOISE = 1e-12
"""Rounding error of a difference of values in [0, 1]."""


def cluster_resamples(n_clusters: int, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> NDArray[np.uint16]:
    """Draw clusters with replacement and count how often each resample has each cluster, [R, C].

    All variants and languages of a task use the same resamples. Row r counts the clusters in row r of one call of
    `Generator(PCG64(seed)).integers(0, C, size=(R, C))` (int64).

    Args:
        n_clusters: C, at most 65,535.
        n_resamples: R.
        seed: seed of the generator.
    Raises:
        BadInputError: the number of clusters or of resamples is out of range.
    """
    if not 1 <= n_clusters < 2**16 or n_resamples < 1:
        expected = "1 <= n_clusters < 65,536 and n_resamples >= 1"
        raise BadInputError("cannot resample", expected=expected, got=(n_clusters, n_resamples))
    generator = np.random.Generator(np.random.PCG64(seed))
    counts = np.empty((n_resamples, n_clusters), dtype=np.uint16)
    for start in range(0, n_resamples, BLOCK_ROWS):
        block = counts[start : start + BLOCK_ROWS]
        drawn = generator.integers(0, n_clusters, size=block.shape)
        cells = drawn + n_clusters * np.arange(len(block))[:, None]
        block[:] = np.bincount(cells.reshape(-1), minlength=block.size).reshape(block.shape)
    return counts


def resampled_sums(counts: NDArray[np.uint16], sums: Array) -> Array:
    """Return the sums of statistics of each resample, [R, k].

    The statistics are rounded by `exactly_summable`, so the result does not depend on the order of addition.

    Args:
        counts: [R, C] of `cluster_resamples`.
        sums: [C, k], sums of statistics of each cluster.
    Raises:
        ShapeError: the two do not fit.
        PermanentError: a statistic is not finite.
    """
    if sums.ndim != 2 or counts.shape[1:] != sums.shape[:1]:
        raise ShapeError("resamples do not fit the clusters", expected=counts.shape[1:], got=sums.shape)
    return exact_products(counts, exactly_summable(sums, len(sums)))


def leave_one_out_sums(sums: Array) -> Array:
    """Return the sums of statistics without each cluster in turn, [C, k]: the jackknife of `bca_interval`."""
    return np.asarray(sums.sum(axis=0) - sums)


def jackknife_contributions(value: Array, left_out: Array) -> Array:
    """Return what each cluster adds to a value that is not a sum over clusters, [C, ...]; they add up to the value.

    (value + (C - 1) * (mean over clusters of the value without one - value without this one)) / C

    Args:
        value: [...], of the sample.
        left_out: [C, ...], without each cluster.
    """
    n = len(left_out)
    return np.asarray((value + (n - 1) * (left_out.mean(axis=0) - left_out)) / n)


def percentile_interval(resampled: Array, *, level: float = 0.95) -> Interval:
    """Return the (1 - level) / 2 and (1 + level) / 2 quantiles, interpolated linearly (Hyndman and Fan, type 7).

    Args:
        resampled: [R], one value per resample.
        level: coverage, in (0, 1).
    Raises:
        ShapeError: `resampled` is not a vector, or empty.
        PermanentError: a value is not finite.
        BadInputError: the level is out of range.
    """
    _check_resampled(resampled, level)
    return _quantiles(resampled, (1 - level) / 2, (1 + level) / 2)


def bca_interval(resampled: Array, value: float, jackknife: Array, *, level: float = 0.95) -> Interval:
    """Return the bias-corrected and accelerated interval        (Efron, JASA 82, 1987).

    z0 = Phi^-1((#{resampled < value} + #{resampled = value} / 2) / R), the share kept within [1/(2R), 1 - 1/(2R)]
    a = sum(u^3) / (6 * sum(u^2)^1.5) with u = mean(jackknife) - jackknife; 0 if all u are 0
    ends: quantiles (type 7) at Phi(z0 + (z0 + z) / (1 - a * (z0 + z))) for z = Phi^-1((1 -+ level) / 2)

    Values are equal if they differ by at most max(1e-9 * largest absolute one, 1e-12): rounding errors do not count. An
    end beyond the value, which a large z0 can give, is moved to the value. Both ends move outwards with the level.

    It has zero width if all resampled values are equal (`is_constant`); `boundary_interval` is for that case.

    Args:
        resampled: [R], the metric of each resample.
        value: the metric of the sample.
        jackknife: [C], the metric without each cluster.
        level: coverage, in (0, 1).
    Raises:
        ShapeError: an argument is not a vector, or empty.
        PermanentError: a value is not finite.
        BadInputError: the level is out of range.
    """
    bias, acceleration = _bca_constants(resampled, value, jackknife, level=level)
    z = bias + special.ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = special.ndtr(bias + z / np.maximum(1 - acceleration * z, np.finfo(np.float64).tiny))
    interval = _quantiles(resampled, float(low), float(high))
    return Interval(min(interval.low, value), max(interval.high, value))


def is_constant(resampled: Array) -> bool:
    """Return whether all resampled values, [R], are equal apart from rounding errors (see `bca_interval`)."""
    return bool(np.ptp(resampled) <= _tolerance(resampled))


def _tolerance(values: Array) -> float:
    return max(EQUAL * float(np.abs(values).max()), NOISE)


def _bca_constants(resampled: Array, value: float, jackknife: Array, *, level: float) -> tuple[float, float]:
    """Return the bias correction z0 and the acceleration a."""
    _check_resampled(resampled, level)
    _check_resampled(jackknife, level)
    influences = jackknife.mean() - jackknife
    spread = float((influences**2).sum()) ** 1.5
    acceleration = float((influences**3).sum()) / (6 * spread) if spread > 0 else 0.0
    return _normal_share(resampled, value), acceleration


def _normal_share(resampled: Array, value: float) -> float:
    """Return the normal quantile of the share of resampled values below a value, half of the equal ones included."""
    tolerance = _tolerance(np.append(resampled, value))
    n_below = int((resampled < value - tolerance).sum())
    n_equal = int((np.abs(resampled - value) <= tolerance).sum())
    share = (n_below + 0.5 * n_equal) / resampled.size
    return float(special.ndtri(np.clip(share, 0.5 / resampled.size, 1 - 0.5 / resampled.size)))


def studentized_interval(
    value: float, standard_error: float, *, resampled: Array, resampled_errors: Array, level: float = 0.95
) -> Interval:
    """Return the bootstrap-t interval: value - q * se, with q the quantiles (type 7) of (resampled - value) / errors.

    Resamples whose standard error is 0 are left out, up to 1e-9 of their value. If that is all of them, the interval is
    the value. An end beyond the value is moved to it.

    Args:
        value: the metric of the sample.
        standard_error: its standard error, finite.
        resampled: [R], the metric of each resample.
        resampled_errors: [R], the standard error of each resample.
        level: coverage, in (0, 1).
    Raises:
        ShapeError: the resamples are not two vectors of one length.
        PermanentError: a value is not finite.
        BadInputError: the level is out of range.
    """
    _check_resampled(resampled, level)
    _check_resampled(resampled_errors, level)
    if resampled.shape != resampled_errors.shape or not np.isfinite([value, standard_error]).all():
        raise ShapeError("resamples and errors differ", expected=resampled.shape, got=resampled_errors.shape)
    kept = resampled_errors > EQUAL * np.abs(resampled)
    if not kept.any():
        return Interval(value, value)
    quantiles = _quantiles((resampled[kept] - value) / resampled_errors[kept], (1 - level) / 2, (1 + level) / 2)
    low, high = value - quantiles.high * standard_error, value - quantiles.low * standard_error
    return Interval(min(low, value), max(high, value))


def resampled_ratios(counts: NDArray[np.uint16], contributions: Array, *, sizes: Array) -> tuple[Array, Array]:
    """Return the ratio sum(d) / sum(m) of each resample and its standard error by the formula of `ratio_estimate`.

    Args:
        counts: [R, C] of `cluster_resamples`.
        contributions: d, [C].
        sizes: m, [C], above 0.
    Returns: ratios [R] and standard errors [R].
    """
    products = np.stack([contributions, sizes, contributions**2, contributions * sizes, sizes**2], axis=1)
    d, m, dd, dm, mm = resampled_sums(counts, products).T
    ratios, n = d / m, len(sizes)
    spread = np.maximum(0.0, dd - 2 * ratios * dm + ratios**2 * mm)
    return ratios, np.sqrt(n / max(1, n - 1) * spread) / m


def ratio_t_interval(contributions: Array, sizes: Array, *, level: float = 0.95) -> Interval:
    """Return the t interval of a ratio of sums over clusters, with C - 1 degrees of freedom.

    For perplexity, contributions are a cluster's negative log-likelihoods and sizes its tokens: the interval is that of
    ln(perplexity), and its exponentials are that of the perplexity. With differences of log-likelihoods (baseline -
    variant) it is the interval of ln(perplexity of the variant / perplexity of the baseline).

    Args and Raises: as in `ratio_estimate`. One cluster has the interval [-inf, inf].
    """
    check_level(level)
    estimate = ratio_estimate(contributions, sizes)
    reach = float("inf")
    if estimate.n_clusters > 1:
        reach = float(special.stdtrit(estimate.n_clusters - 1, (1 + level) / 2)) * estimate.standard_error
    return Interval(estimate.value - reach, estimate.value + reach)


def _quantiles(values: Array, low: float, high: float) -> Interval:
    ends = np.quantile(values, [low, high])
    return Interval(float(ends[0]), float(ends[1]))


def _check_resampled(values: Array, level: float) -> None:
    check_level(level)
    if values.ndim != 1 or not values.size:
        raise ShapeError("an interval needs a vector of values", expected="[n_resamples]", got=values.shape)
    if not np.isfinite(values).all():
        raise PermanentError("a resampled value is not finite", n_wrong=int((~np.isfinite(values)).sum()))
