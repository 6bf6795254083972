"""Keep masks: make them from levels, count, compare, combine and pack them."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, unknown
from mlprune.numeric.masks.packing import MAX_LEVELS, check_n_levels, pack_flags
from mlprune.numeric.selection.rows import level_sizes


def keep_mask(levels: Tensor, level: int) -> Tensor:
    """Return the keep mask of one sparsity: True where the weight stays at the sparsity of index `level`.

    Args:
        levels: [out, in], uint8.
        level: index of the sparsity, 0 to 254.
    Returns: [out, in], bool, True means the weight stays.
    Raises:
        ShapeError: `level` is negative or above 254.
    """
    if not 0 <= level < MAX_LEVELS:
        raise ShapeError("no such level", expected=f"0 <= level < {MAX_LEVELS}", got=level)
    if levels.device.type == "cpu":
        return torch.from_numpy(levels.detach().numpy() > level)  # many times faster than torch's comparison
    return levels > level


def removed_counts(levels: Tensor, n_levels: int) -> list[int]:
    """Count the weights that each sparsity removes. A weight that one sparsity removes counts for all higher ones.

    Args:
        levels: [out, in], uint8.
        n_levels: number of sparsities, 1 to 255.
    Returns: one count per sparsity, ascending.
    Raises:
        ShapeError: a level is above `n_levels`, or `n_levels` is out of range.
    """
    check_n_levels(n_levels)
    sizes = level_sizes(levels.detach().cpu().numpy())
    highest = int(np.flatnonzero(sizes).max(initial=0))
    if highest > n_levels:
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got=highest)
    return [int(count) for count in np.cumsum(sizes[:n_levels])]


def jaccard_removed(removed_a: Tensor, removed_b: Tensor) -> float:
    """Return the Jaccard index of two sets of removed weights: |A and B| / |A or B|, 1 if both are empty.

    Args:
        removed_a: bool, any shape, True where the weight is removed (the negation of a keep mask).
        removed_b: bool, the same shape.
    Raises:
        ShapeError: the two differ in shape, or are not boolean.
    """
    _check_masks([removed_a, removed_b])
    n_union = int((removed_a | removed_b).sum())
    return int((removed_a & removed_b).sum()) / n_union if n_union else 1.0


COMBINATIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "intersection": torch.logical_and,
    "union": torch.logical_or,
    "difference": lambda first, other: first & ~other,
    "symmetric_difference": torch.logical_xor,
}
"""Set operations on two sets of kept weights; more than two are combined from left to right."""


def combined_masks(masks: Sequence[Tensor], how: str) -> Tensor:
    """Combine keep masks as sets of kept weights.

    Args:
        masks: bool, of one shape; one or more, exactly two for `symmetric_difference`.
        how: `intersection`, `union`, `difference` (kept by the first, by no other), `symmetric_difference`.
    Returns: bool, of that shape, True means the weight stays.
    Raises:
        BadInputError: the combination is unknown, or does not take this number of masks.
        ShapeError: the masks differ in shape, or are not boolean.
    """
    if how not in COMBINATIONS:
        raise unknown("combination", how, COMBINATIONS, error=BadInputError)
    if not masks or (how == "symmetric_difference" and len(masks) != 2):
        expected = "2" if how == "symmetric_difference" else "at least 1"
        raise BadInputError("wrong number of masks to combine", combination=how, expected=expected, got=len(masks))
    _check_masks(masks)
    return reduce(COMBINATIONS[how], masks)


def packed_mask(mask: Tensor) -> bytes:
    """Pack a mask for hashing: row-major, eight weights per byte, the first in the least significant bit.

    Args:
        mask: bool, any shape, device and memory layout.
    Returns: ceil(number of weights / 8) bytes, the last one padded with zeros.
    Raises:
        ShapeError: the mask is not boolean.
    """
    if mask.dtype != torch.bool:
        raise ShapeError("a mask is not boolean", expected="bool", got=str(mask.dtype))
    return pack_flags(mask).tobytes()


def _check_masks(masks: Sequence[Tensor]) -> None:
    """Raise ShapeError unless all masks are boolean and of one shape."""
    kinds = [f"{mask.dtype} {tuple(mask.shape)}" for mask in masks]
    expected = f"{torch.bool} {tuple(masks[0].shape)}"
    for kind in kinds:
        if kind != expected:
            raise ShapeError("masks differ in shape or dtype", expected=expected, got=kind)
