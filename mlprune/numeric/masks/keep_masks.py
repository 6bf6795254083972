"""Keep masks and large features: compare, combine, and measure their overlap.

Feature overlap: the share of the largest features of one demonstration set that are among the smallest of another.

Magnitudes come from `hidden_magnitudes`, averaged over demonstrations.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError, unknown

COMBINATIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "intersection": torch.logical_and,
    "union": torch.logical_or,
    "difference": lambda first, other: first & ~other,
    "symmetric_difference": torch.logical_xor,
}
"""Set operations on two sets of kept weights; more than two are combined from left to right."""


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


def top_features(magnitudes: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the indices of the k largest features, largest first; the lower index first for equal features.

    Args:
        magnitudes: [d], finite.
        k: number of features, 0 <= k <= d.
    Returns: [k], int64.
    Raises:
        ShapeError: `magnitudes` is not a vector, or k does not fit it.
        StatisticsError: a magnitude is not finite.
    """
    _check_magnitudes(magnitudes)
    if not 0 <= k <= magnitudes.size:
        raise ShapeError("too many features", expected=f"0 <= k <= {magnitudes.size}", got=k)
    return _order(-magnitudes.astype(np.float64))[:k]


def top_bottom_overlap(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> float:
    """Return the share of the largest features of A that are among the smallest of B.

    |top_p(A) intersected with bottom_p(B)| / round(p * d)        (Kim et al., arXiv:2409.16911)

    Near 0, features that are large in A are not small in B. `round` rounds halves to even. Of equal features, the lower
    index comes first at both ends. The published script always uses p = 0.4; this function uses the given p.

    Args:
        a: [d], magnitudes of set A.
        b: [d], magnitudes of set B.
        share: p, in (0, 1], at least half a feature.
    Returns: a fraction in [0, 1].
    Raises:
        ShapeError: the two are not vectors of one length.
        StatisticsError: a magnitude is not finite.
        BadInputError: the share is out of range, or selects no feature.
    """
    for magnitudes in (a, b):
        _check_magnitudes(magnitudes)
    if a.size != b.size:
        raise ShapeError("the two sets differ in their number of features", expected=a.size, got=b.size)
    if not 0 < share <= 1 or round(share * a.size) == 0:
        raise BadInputError("a share selects no features", expected="0 < share <= 1", got=share, n_features=a.size)
    k = round(share * a.size)
    bottom = _order(b.astype(np.float64))[:k]
    return np.intersect1d(top_features(a, k), bottom, assume_unique=True).size / k


def _order(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(values, kind="stable").astype(np.int64)


def _check_magnitudes(magnitudes: NDArray[np.float64]) -> None:
    if magnitudes.ndim != 1:
        raise ShapeError("magnitudes are not a vector", expected="[d]", got=magnitudes.shape)
    if not np.isfinite(magnitudes).all():
        raise StatisticsError("a magnitude is not finite", feature=int(np.argmin(np.isfinite(magnitudes))))
