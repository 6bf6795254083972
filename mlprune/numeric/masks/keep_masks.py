"""Keep masks: compare and combine them."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, unknown


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


def _check_masks(masks: Sequence[Tensor]) -> None:
    """Raise ShapeError unless all masks are boolean and of one shape."""
    kinds = [f"{mask.dtype} {tuple(mask.shape)}" for mask in masks]
    expected = f"{torch.bool} {tuple(masks[0].shape)}"
    for kind in kinds:
        if kind != expected:
            raise ShapeError("masks differ in shape or dtype", expected=expected, got=kind)
