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
    if not 0 <= sparsity < 1 or not 0 < spread < 0.5:
        expected = "0 <= sparsity < 1 and 0 < spread < 0.5"
        raise BadInputError("a sparsity or a spread is out of range", expected=expected, got=(sparsity, spread))
    check_values(values)
    lowest, highest = min(values), max(values)
    if lowest == highest or sparsity == 0 or sparsity >= MOST:
        return (sparsity,) * len(values)
    ratios = [2 * spread * ((value - lowest) / (highest - lowest)) for value in values]
    mean = math.fsum(n * ratio for n, ratio in zip(n_weights, ratios, strict=True)) / sum(n_weights)
    shifts = [ratio - mean for ratio in ratios]
    factor = min(1.0, sparsity / max(shifts), (MOST - sparsity) / -min(shifts))
    return tuple(min(max(round(sparsity - factor * shift, DECIMALS), 0.0), MOST) for shift in shifts)


def check_values(values: Sequence[float]) -> None:
    """Check the values of parts.

    Raises:
        StatisticsError: there are none, or one is not finite.
    """
    if not values or not all(map(math.isfinite, values)):
        raise StatisticsError("values of parts of the model are missing or not finite", got=list(values))
