"""Sparsities of AlphaPruning: blocks with larger values are pruned more, in proportion (arXiv:2410.10912)."""

from collections.abc import Sequence

from mlprune.numeric.allocation.shifted import (
    MOST,
    check_arguments,
    from_0_to_1,
    gets_total,
    rounded,
    weighted_mean,
)


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
    check_arguments(values, sparsity, spread, below=1)
    if gets_total(values, sparsity):
        return (sparsity,) * len(values)
    factors = [1 - spread + 2 * spread * value for value in from_0_to_1(values)]
    mean = weighted_mean(factors, n_weights)
    shifts = [factor / mean - 1 for factor in factors]
    k = min(1.0, (MOST / sparsity - 1) / max(shifts))
    return tuple(rounded(sparsity * (1 + k * shift)) for shift in shifts)
