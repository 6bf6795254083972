"""Interval of the expected calibration error: a sum of absolute values, which sampling error only increases."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import percentile_interval
from mlprune.numeric.statistics.clusters import Interval, check_level

N_BISECTIONS = 30
LARGEST_SCALE = 4.0
"""The search ends at this multiple of the observed value, or of the mean resampled one if that is larger."""

ROUNDING = 1e-9
"""Margin for rounding errors of sums, absolute and relative."""


@dataclass(frozen=True)
class CorrectedEstimate:
    """Value without the upward bias of a sum of absolute values, and its interval."""

    value: float
    interval: Interval


def calibration_interval(resampled: Array, cells: Array, *, level: float = 0.95) -> CorrectedEstimate:
    """Estimate sum_b |mu_b| from means mu^ of cells, without bias in the median, by inverting a bootstrap test.

    The observed value is t = sum_b |mu^_b|. Sampling error makes t too large, and resamples again larger than t. For a
    hypothesised value x, the cells mu(x) have sum_b |mu_b(x)| = x: for x < t all |mu^_b| are reduced by one amount, not
    below 0; for x > t they are multiplied by x / t. With the noise N_r = resampled_r - mu^,

    P(x) = share of the resamples r with sum_b |mu_b(x) + N_rb| >= t,   which rises with x.

    The estimate is the smallest x >= 0 with P(x) >= 1/2. The ends are the smallest x with P(x) >= (1 - level) / 2 and
    the smallest with P(x) >= (1 + level) / 2. Few and rare errors make the noise skewed: the upper end is therefore at
    least the (1 + level) / 2 quantile of the resampled sums minus their bias, mean(resampled sums) - t.

    x is found by 30 bisections between 0 and 4 * max(t, mean of the resampled sums).

    Args:
        resampled: [R, B], the means of the cells of each resample: sums of `calibration_cells` / sums of items.
        cells: mu^, [B], the means of the cells of the sample.
        level: coverage, in (0, 1).
    Raises:
        ShapeError: the two do not fit, or the resamples are empty.
        PermanentError: a value is not finite.
        BadInputError: the level is out of range.
    """
    return calibration_intervals(resampled, cells, levels=(level,))[0]


def calibration_intervals(
    resampled: Array, cells: Array, *, levels: tuple[float, ...]
) -> tuple[CorrectedEstimate, ...]:
    """Return `calibration_interval` for several levels, which are searched for together."""
    for level in levels:
        check_level(level)
    if resampled.ndim != 2 or not len(resampled) or resampled.shape[1:] != cells.shape:
        raise ShapeError("resamples do not fit the cells", expected=f"[R, {cells.size}]", got=resampled.shape)
    if not np.isfinite(resampled).all() or not np.isfinite(cells).all():
        raise PermanentError("the mean of a cell is not finite")
    sums = np.abs(resampled).sum(axis=1)
    observed = float(np.abs(cells).sum())
    is_used = (resampled != 0).any(axis=0) | (cells != 0)
    noise, used = np.ascontiguousarray((resampled - cells)[:, is_used].T), cells[is_used]
    mean = float(sums.mean())
    limit = LARGEST_SCALE * max(observed, mean)
    of_all = cache(partial(_excesses, noise, used, observed=observed))
    smallest = partial(_smallest, noise, used, limit=limit, of_all=of_all)
    value, bias, estimates = smallest(0.5), max(0.0, mean - observed), []
    for level in levels:
        low, high = smallest((1 - level) / 2), smallest((1 + level) / 2)
        quantile = percentile_interval(sums, level=level).high
        estimates.append(CorrectedEstimate(value, Interval(low, max(high, quantile - bias))))
    return tuple(estimates)


def calibration_difference(
    first: CorrectedEstimate, second: CorrectedEstimate, *, correlation: float
) -> CorrectedEstimate:
    """Return first - second of two corrected errors of the same items, with its interval        (Zou, 2007, MOVER).

    With estimates v, ends l and u, and correlation k,
    low = v1 - v2 - sqrt((v1 - l1)^2 + (u2 - v2)^2 - 2 * k * (v1 - l1) * (u2 - v2)),
    high = v1 - v2 + sqrt((u1 - v1)^2 + (v2 - l2)^2 - 2 * k * (u1 - v1) * (v2 - l2)).

    If l1 = 0, low is l1 - u2, and if l2 = 0, high is u1 - l2: an interval that ends at 0 is one-sided, and the root of
    squares would be too short. The percentile interval of resampled differences has a bias if one model is better
    calibrated than the other.

    Args:
        first: result of `calibration_interval`.
        second: result for the other model with the same resamples and level.
        correlation: of the resampled sums of absolute values of the two; 0 if one of them does not vary.
    Raises:
        BadInputError: the correlation is not in [-1, 1].
    """
    if not -1 <= correlation <= 1:
        raise BadInputError("not a correlation", expected="-1 to 1", got=correlation)
    below = first.value - first.interval.low, second.value - second.interval.low
    above = first.interval.high - first.value, second.interval.high - second.value
    difference = first.value - second.value
    low = _distance(below[0], above[1], correlation if first.interval.low > 0 else -1.0)
    high = _distance(above[0], below[1], correlation if second.interval.low > 0 else -1.0)
    return CorrectedEstimate(difference, Interval(difference - low, difference + high))


def _distance(a: float, b: float, correlation: float) -> float:
    return math.sqrt(max(0.0, a * a + b * b - 2 * correlation * a * b))


def cells_with_sum(cells: Array, total: float) -> Array:
    """Return cells of the same signs whose absolute values add up to `total`, [B]; see `calibration_interval`."""
    sizes = np.abs(cells)
    observed = float(sizes.sum())
    if observed == 0 or total >= observed:
        return cells * (total / observed) if observed else cells
    descending = np.sort(sizes)[::-1]
    reductions = (np.cumsum(descending) - total) / np.arange(1, sizes.size + 1)
    reduction = reductions[np.flatnonzero(descending > reductions)[-1]] if total > 0 else descending[0]
    return np.asarray(np.sign(cells) * np.maximum(0.0, sizes - reduction))


def _excesses(noise: Array, cells: Array, total: float, *, observed: float) -> Array:
    """Return how much the sums of resamples exceed the observed one, [R], from [B, R] noise."""
    sums = noise + cells_with_sum(cells, total)[:, None]
    return np.asarray(np.abs(sums, out=sums).sum(axis=0) - observed)


def _smallest(noise: Array, cells: Array, share: float, *, limit: float, of_all: Callable[[float], Array]) -> float:
    """Return the smallest sum for which at least this share of the resamples reaches the observed sum.

    A resample's sum changes by at most as much as the hypothesised one, because all cells grow with it. So a resample
    that is further from the observed sum than the search interval is wide has its answer, and is not computed again.

    Args:
        noise: [B, R], one row per cell: numpy adds rows faster than columns.
        of_all: `_excesses` of all resamples at a sum.
    """
    observed, n_resamples, n_decided = float(np.abs(cells).sum()), noise.shape[1], 0
    if np.count_nonzero(of_all(0.0) >= 0) / n_resamples >= share:
        return 0.0
    low, high = 0.0, limit
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        is_whole = noise.shape[1] == n_resamples
        excess = of_all(middle) if is_whole else _excesses(noise, cells, middle, observed=observed)
        is_reached = (n_decided + np.count_nonzero(excess >= 0)) / n_resamples >= share
        low, high = (low, middle) if is_reached else (middle, high)
        width = (high - low) * (1 + ROUNDING) + ROUNDING
        is_open = np.abs(excess) <= width
        if not is_open.all():
            n_decided += int(np.count_nonzero(excess > width))
            noise = noise[:, is_open]
    return high


def shared_intervals(resampled: Array, cells: Array, levels: tuple[float, ...]) -> tuple[CorrectedEstimate, ...]:
    """Return `calibration_intervals`; those of the same evaluation, such as a baseline, are not computed again.

    Args:
        resampled: [R, bins] float64.
        cells: [bins] float64.
        levels: of the intervals.
    """
    return _computed(resampled.tobytes(), cells.tobytes(), cells.size, levels)


@lru_cache(maxsize=32)
def _computed(resampled: bytes, cells: bytes, n_cells: int, levels: tuple[float, ...]) -> tuple[CorrectedEstimate, ...]:
    return calibration_intervals(np.frombuffer(resampled).reshape(-1, n_cells), np.frombuffer(cells), levels=levels)
