"""Masks and counts of unpacked levels, by their definition."""

from torch import Tensor

from mlprune.pruning.scoring import BlockLevels


def keep_mask(levels: Tensor, level: int) -> Tensor:
    """Return the keep mask of the sparsity of index `level`, bool."""
    return levels > level


def removed_counts(levels: Tensor, n_levels: int) -> list[int]:
    """Count the weights that each sparsity removes."""
    return [int((levels <= level).sum()) for level in range(n_levels)]


def keep_masks(levels: BlockLevels, *, level: int) -> dict[str, Tensor]:
    """Return layer -> bool [out, in], True where the weight stays at the sparsity of index `level`."""
    return {layer: of_layer.packed.kept(level).unpack() for layer, of_layer in levels.items()}
