"""Masks and counts of unpacked levels, by their definition."""

from torch import Tensor


def keep_mask(levels: Tensor, level: int) -> Tensor:
    """Return the keep mask of the sparsity of index `level`, bool."""
    return levels > level


def removed_counts(levels: Tensor, n_levels: int) -> list[int]:
    """Count the weights that each sparsity removes."""
    return [int((levels <= level).sum()) for level in range(n_levels)]
