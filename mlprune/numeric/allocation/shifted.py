"""Sparsities of parts of a model around a total: parts with larger values keep more weights."""

import math
from collections.abc import Sequence

from mlprune.errors import BadInputError, StatisticsError

DECIMALS = 12
"""Decimals of a sparsity after rounding: 0.5 - 0.08 is then exactly 0.42 and removes 42 of 100 weights, not 41."""
MOST = 0.999
"""Largest sparsity that a schedule gives a part, unless the total is larger."""


def shifted_sparsities(
    values: Sequence[float], sparsity: float, *, spread: float, n_weights: Sequence[int]
) -> tuple[float, ...]:
    """Return the sparsity of every part, lower for parts with larger values.

    r_u = 2 * spread * (value_u - min) / (max - min),  d_u = r_u - sum(n_u * r_u) / sum(n_u)
    sparsity_u = sparsity - k * d_u,  k = min(1, sparsity / max d, (0.999 - sparsity) / max(-d))

    with n_u, the number of weights of the part. The mean of sparsity_u, weighted by n_u, is `sparsity`: instead of
    clipping single parts, k makes all shifts smaller where a part would leave [0, 0.999]. If all values are equal, or
    `sparsity` is 0 or at least 0.999, every part gets `sparsity`. Results are rounded to 12 decimals. A higher
    `sparsity` never gives a part a lower one, so the masks of an ordering nest.

    Args:
        values: one per part, finite.
        sparsity: of all parts together, in [0, 1).
        spread: in (0, 0.5). The lowest and the highest sparsity differ by twice the spread if k is 1.
        n_weights: of every part, at least one each.
    Raises:
        StatisticsError: there are no values, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    check_arguments(values, sparsity, spread, below=0.5)
    if gets_total(values, sparsity):
        return (sparsity,) * len(values)
    ratios = [2 * spread * value for value in from_0_to_1(values)]
    mean = weighted_mean(ratios, n_weights)
    shifts = [ratio - mean for ratio in ratios]
    factor = min(1.0, sparsity / max(shifts), (MOST - sparsity) / -min(shifts))
    return tuple(rounded(sparsity - factor * shift) for shift in shifts)


def may_shrink(sparsity: float, spread: float) -> bool:
    """Whether `shifted_sparsities` can make the shifts of some values smaller, because a part would leave the range."""
    return not 2 * spread <= sparsity <= MOST - 2 * spread


def check_arguments(values: Sequence[float], sparsity: float, spread: float, *, below: float) -> None:
    """Check the values of parts, the sparsity of all of them, and the spread.

    Args:
        below: exclusive upper bound of the spread.
    Raises:
        StatisticsError: there are no values, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    if not 0 <= sparsity < 1 or not 0 < spread < below:
        expected = f"0 <= sparsity < 1 and 0 < spread < {below:g}"
        raise BadInputError("a sparsity or a spread is out of range", expected=expected, got=(sparsity, spread))
    if not values or not all(map(math.isfinite, values)):
        raise StatisticsError("values of parts of the model are missing or not finite", got=list(values))


def gets_total(values: Sequence[float], sparsity: float) -> bool:
    """Whether every part gets the sparsity of all of them, because values are equal or nothing can be shifted."""
    return min(values) == max(values) or sparsity == 0 or sparsity >= MOST


def from_0_to_1(values: Sequence[float]) -> list[float]:
    """Return values, which are not all equal, on a scale from 0, the lowest one, to 1, the highest one."""
    lowest, highest = min(values), max(values)
    return [(value - lowest) / (highest - lowest) for value in values]


def weighted_mean(values: Sequence[float], n_weights: Sequence[int]) -> float:
    """Return the mean of the values of parts, weighted by their numbers of weights."""
    return math.fsum(n * value for n, value in zip(n_weights, values, strict=True)) / sum(n_weights)


def rounded(sparsity: float) -> float:
    """Return the sparsity of a part, rounded to 12 decimals, in [0, 0.999]."""
    return min(max(round(sparsity, DECIMALS), 0.0), MOST)
