"""Results and checks that all reconstructions of a layer share.

A reconstruction chooses a mask and gives the remaining weights new values, so that the outputs of the layer change
little. Its squared error over the counted tokens is the sum of (w - w') G (w - w')^T over rows, with G = X^T X.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods import pattern_of


@dataclass(frozen=True)
class Reconstruction:
    """A mask and new weights of one layer."""

    keep: Tensor
    """[out, in] bool, True where the weight stays."""
    weight: Tensor
    """[out, in] float32: new weights, exactly 0 where removed."""
    n_dampings: int
    """Number of times that the damping was multiplied by 10 until the Hessian was positive definite; normally 0."""


def checked_pattern(structure: str, sparsity: float, d_in: int, *, score: str) -> tuple[int, int] | None:
    """Return (N, M) of an N:M structure; None for `matrix` and `row`.

    Args:
        d_in: number of inputs of the layer.
        score: name in messages.
    Raises:
        BadInputError: the sparsity or the structure is out of range, or they contradict each other.
        ShapeError: M does not divide `d_in`.
    """
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    if structure in ("matrix", "row"):
        return None
    pattern = pattern_of(structure)
    if pattern is None or not 0 < pattern[0] < pattern[1]:
        raise BadInputError(f"{score} does not support the structure", expected="matrix, row or N:M", got=structure)
    n, m = pattern
    if sparsity != n / m:
        raise BadInputError("the sparsity differs from that of the structure", expected=n / m, got=sparsity)
    if d_in % m:
        raise ShapeError("a row does not divide into groups", expected=f"a multiple of {m}", got=d_in)
    return pattern


def check_tensors(weight: Tensor, products: Tensor) -> None:
    """Check a weight, [out, in], and the Gram matrix of its inputs, [in, in].

    Raises:
        ShapeError: `weight` is not a matrix, or `products` does not fit it.
        StatisticsError: one of them contains an impossible value.
    """
    if weight.ndim != 2 or products.shape != (weight.shape[1], weight.shape[1]):
        expected = f"[out, in] and [in, in], weight {tuple(weight.shape)}"
        raise ShapeError("products do not fit the weight", expected=expected, got=tuple(products.shape))
    if not bool(torch.isfinite(weight).all()):
        raise StatisticsError("a weight is not finite")
    diagonal = products.diagonal()
    if not bool(torch.isfinite(products).all()) or bool((diagonal < 0).any()):
        raise StatisticsError("a product of activations is not finite, or a sum of squares negative")


def float32_weight(updated: Tensor) -> Tensor:
    """Return new weights, [out, in], contiguous in float32.

    Raises:
        StatisticsError: one is beyond float32.
    """
    narrow = updated.to(torch.float32).contiguous()
    if not bool(torch.isfinite(narrow).all()):
        raise StatisticsError("an updated weight is beyond float32")
    return narrow
