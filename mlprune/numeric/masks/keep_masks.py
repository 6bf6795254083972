"""Keep masks from levels, and what is done with them: counted, compared, combined, packed for hashing.

How levels come about is in `levels`. Setting weights to zero belongs to the models.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, unknown
from mlprune.numeric.masks.packing import MAX_LEVELS, check_n_levels
from mlprune.numeric.selection.rows import level_sizes


def keep_mask(levels: Tensor, level: int) -> Tensor:
    """Keep mask of one sparsity: True where the weight survives the sparsity of index `level`.

    Args:
        levels: [out, in], uint8.
        level: index of the sparsity, 0 to 254.
    Returns: [out, in], bool, True means the weight stays.
    Raises:
        ShapeError: no uint8 level can lie above `level`, or it is negative.
    """
    if not 0 <= level < MAX_LEVELS:
        raise ShapeError("no such level", expected=f"0 <= level < {MAX_LEVELS}", got=level)
    if levels.device.type == "cpu":
        return torch.from_numpy(levels.detach().numpy() > level)  # many times faster than the tensor library's
    return levels > level


def removed_counts(levels: Tensor, n_levels: int) -> list[int]:
    """Count the weights that each sparsity removes; a weight that one sparsity removes counts for all higher ones.

    Args:
        levels: [out, in], uint8.
        n_levels: number of sparsities, 1 to 255.
    Returns: one count for each sparsity, ascending.
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
    """Jaccard index of two sets of removed weights: |A and B| / |A or B|, 1 where both are empty.

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
"""How two sets of kept weights become one; more than two are combined from left to right."""


def combined_masks(masks: Sequence[Tensor], how: str) -> Tensor:
    """Combine keep masks as sets of kept weights.

    Args:
        masks: bool, of one shape; one or more, exactly two for `symmetric_difference`.
        how: `intersection`, `union`, `difference` (kept by the first and by none of the rest), `symmetric_difference`.
    Returns: bool, of that shape, True means the weight stays.
    Raises:
        BadInputError: there is no such combination, or it does not take so many masks.
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
    """Pack a mask, row-major, eight weights to a byte, the first in the least significant bit: what is hashed of it.

    Args:
        mask: bool, any shape, device and memory layout.
    Returns: ceil(number of weights / 8) bytes, the last one filled up with zeros.
    Raises:
        ShapeError: the mask is not boolean.
    """
    if mask.dtype != torch.bool:
        raise ShapeError("a mask is not boolean", expected="bool", got=str(mask.dtype))
    return np.packbits(mask.detach().cpu().numpy().reshape(-1), bitorder="little").tobytes()


def _check_masks(masks: Sequence[Tensor]) -> None:
    """Raise ShapeError unless all masks are boolean and of one shape."""
    kinds = [f"{mask.dtype} {tuple(mask.shape)}" for mask in masks]
    expected = f"{torch.bool} {tuple(masks[0].shape)}"
    for kind in kinds:
        if kind != expected:
            raise ShapeError("masks do not fit each other", expected=expected, got=kind)
