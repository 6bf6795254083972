"""Result of a refiner for one layer, and checks of its arguments."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods import pattern_of


@dataclass(frozen=True)
class RefinedLayer:
    """A refined mask, and new weights if the refiner makes them."""

    keep: Tensor
    """[out, in] bool, True where the weight stays; as many in every comparison group as before."""
    weight: Tensor | None = None
    """[out, in] float32, exactly 0 where `keep` is False; None if the kept weights have their old values."""
    n_swaps: Tensor | None = None
    """[out] int32: pairs of a removed and a restored weight of each row; None if the refiner does not swap."""


def group_size(structure: str, d_in: int) -> int:
    """Return the number of consecutive inputs inside which weights are swapped: M of N:M, otherwise the whole row.

    Weights of the structures `row`, `matrix` and `alpha` are swapped within their row, so every row, and therefore the
    matrix, keeps its number of weights.

    Args:
        structure: `row`, `matrix`, `alpha` or `N:M`.
        d_in: length of a row.
    Raises:
        BadInputError: the structure is another one.
        ShapeError: M does not divide the row.
    """
    if structure in ("row", "matrix", "alpha"):
        return d_in
    pattern = pattern_of(structure)
    if pattern is None or not 0 < pattern[0] < pattern[1]:
        expected = "row, matrix, alpha or N:M with 0 < N < M"
        raise BadInputError("a refiner does not support the structure", expected=expected, got=structure)
    if d_in % pattern[1]:
        raise ShapeError("a row does not divide into groups", expected=f"a multiple of {pattern[1]}", got=d_in)
    return pattern[1]


def check_mask(weight: Tensor, keep: Tensor) -> None:
    """Check a weight and its keep mask.

    Raises:
        ShapeError: `weight` is not a matrix, or `keep` is not a boolean matrix of its shape.
        StatisticsError: a weight is not finite.
    """
    if weight.ndim != 2 or keep.shape != weight.shape or keep.dtype != torch.bool:
        expected, got = f"bool {tuple(weight.shape)}", f"{keep.dtype} {tuple(keep.shape)}"
        raise ShapeError("a keep mask does not fit the weight", expected=expected, got=got)
    if not bool(torch.isfinite(weight).all()):
        raise StatisticsError("a weight is not finite", n_wrong=int((~torch.isfinite(weight)).sum()))


def host_products(weight: Tensor, products: Tensor) -> Tensor:
    """Check a Gram matrix, and return it as contiguous float64 on the CPU; itself if it already is.

    Raises:
        ShapeError: it does not fit the weight.
        StatisticsError: an entry is not finite, or a diagonal entry negative.
    """
    d_in = weight.shape[1]
    if products.shape != (d_in, d_in):
        got = tuple(products.shape)
        raise ShapeError("a Gram matrix does not fit the weight", expected=(d_in, d_in), got=got)
    if not bool(torch.isfinite(products).all()) or bool((products.diagonal() < 0).any()):
        raise StatisticsError("a Gram matrix has an entry that is not finite, or a negative diagonal entry")
    return products.detach().to(device="cpu", dtype=torch.float64).contiguous()


def kept_counts(keep: Tensor, structure: str) -> Tensor:
    """Return the number of kept weights of each row, or of each group of N:M.

    Args:
        keep: [out, in], bool.
        structure: `row`, `matrix`, `alpha` or `N:M`, whose M divides the row.
    """
    pattern = pattern_of(structure)
    if pattern is None:
        return keep.sum(dim=1)
    return keep.reshape(keep.shape[0], -1, pattern[1]).sum(dim=2)
