"""Sparsities of AlphaPruning: blocks with larger values are pruned more, in proportion (arXiv:2410.10912)."""

import math
from collections.abc import Sequence

from mlprune.errors import BadInputError
from mlprune.numeric.allocation.shifted import DECIMALS, MOST, check_values


def scaled_sparsities(
    values: Sequence[float], sparsity: float, *, spread: float = 0.3, n_weights: Sequence[int]
) -> tuple[float, ...]:
    """Return the sparsity of every block, higher for blocks with larger values.

    f_b = 1 - spread + 2 * spread * (value_b - min) / (max - min),  d_b = f_b * sum(n) / sum(n_b * f_b) - 1
    sparsity_b = sparsity * (1 + k * d_b),  k = min(1, (0.999 / sparsity - 1) / max d)

    with n_b, the number of weights of the block. The mean of sparsity_b, weighted by n_b, is `sparsity`. With k = 1
    this is the published formula. It exceeds 1 if the sparsity is high; k then makes all differences smaller, so that
    no block leaves [0, 0.999] and the mean stays. If all values are equal, or `sparsity` is at least 0.999, every block
    gets `sparsity`; the published code divides by zero. Results are rounded to 12 decimals. A higher `sparsity` never
    gives a block a lower one, so the masks of an ordering nest.

    Args:
        values: one per block, finite.
        sparsity: of all blocks together, in [0, 1).
        spread: epsilon of the paper, in (0, 1).
        n_weights: of every block, at least one each.
    Raises:
        StatisticsError: there are no values, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    if not 0 <= sparsity < 1 or not 0 < spread < 1:
        expected = "0 <= sparsity < 1 and 0 < spread < 1"
        raise BadInputError("a sparsity or a spread is out of range", expected=expected, got=(sparsity, spread))
    check_values(values)
    lowest, highest = min(values), max(values)
    if lowest == highest or sparsity == 0 or sparsity >= MOST:
        return (sparsity,) * len(values)
    factors = [1 - spread + 2 * spread * ((value - lowest) / (highest - lowest)) for value in values]
    mean = math.fsum(n * factor for n, factor in zip(n_weights, factors, strict=True)) / sum(n_weights)
    shifts = [factor / mean - 1 for factor in factors]
    k = min(1.0, (MOST / sparsity - 1) / max(shifts))
    return tuple(min(max(round(sparsity * (1 + k * shift), DECIMALS), 0.0), MOST) for shift in shifts)
