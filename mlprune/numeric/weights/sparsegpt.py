"""SparseGPT: remove weights column by column and update the others; results of reconstructions.

Results and checks that all reconstructions of a layer share.

A reconstruction chooses a mask and gives the remaining weights new values, so that the outputs of the layer change
little. Its squared error over the counted tokens is the sum of (w - w') G (w - w')^T over rows, with G = X^T X.

SparseGPT: remove weights column by column, and update the remaining weights to compensate.

Frantar & Alistarh, SparseGPT, arXiv:2301.00774. The squared change of a layer's outputs over the counted tokens is the
sum of (w - w') H (w - w')^T over rows, with H = X X^T. The published code multiplies H by 2 / number of samples, which
cancels except in the damping of features that are never active. Results are bit-identical for one number of threads.

Differences to the published code: a column block loses exactly floor(sparsity * weights) weights, in row-major order
for equal losses (there: all weights up to a threshold, which is one too many plus all ties); groups of N:M never cross
a column block; a Hessian that is not positive definite is damped more (there: an exception); the upper factor of the
inverse comes from one factorisation instead of two and an inverse; everything is float64 (there: float32).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods import pattern_of
from mlprune.numeric.selection.levels import n_removed
from mlprune.numeric.weights.column_sweep import COLUMNS_TOGETHER, ColumnBlock, inverse_factor, sweep_columns


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


def sparsegpt(
    weight: Tensor,
    products: Tensor,
    *,
    sparsity: float,
    structure: str = "matrix",
    block_size: int = COLUMNS_TOGETHER,
    damping: float = 0.01,
) -> Reconstruction:
    """Remove weights and update the remaining ones, so that the outputs of the layer change little.

    H is `products` plus `damping` times its mean diagonal on the diagonal. Features that are never active have 1 on the
    diagonal, and their weights become 0. U is the upper factor of the inverse, H^-1 = U^T U. Column j, left to right:

        error[i] = W[i, j] / U[j, j] where removed, else 0;   W[i, k] -= error[i] * U[j, k] for all k >= j

    `matrix`: at the start of each block of `block_size` columns, its weights with the lowest W[i, j]^2 / U[j, j]^2 are
    removed, over all rows. `row`, which the paper does not have: there, each row loses as many of its own lowest
    weights as brings it to floor(sparsity * columns) from the first column to the last of the block, so that every row
    loses floor(sparsity * in) in total. `N:M`: at the start of each group of M columns, the N lowest of each row are
    removed.

    Args:
        weight: [out, in], any float dtype, finite.
        products: [in, in], Gram matrix of the layer's input, from `GramAccumulator`.
        sparsity: in [0, 1); N / M for N:M.
        structure: "matrix", "row" or "N:M".
        block_size: columns whose masks are chosen together, >= 1; rounded to a multiple of M for N:M.
        damping: share of the mean diagonal, > 0.
    Raises:
        ShapeError: `weight` is not a matrix, `products` does not fit it, or M does not divide `in`.
        StatisticsError: `products` or `weight` contains an impossible value, the Hessian is not positive definite after
            the damping was multiplied by 10 ten times, or an updated weight is beyond float32.
        BadInputError: an option is out of range, or structure and sparsity contradict each other.
    """
    check_tensors(weight, products)
    pattern = checked_pattern(structure, sparsity, weight.shape[1], score="sparsegpt")
    if block_size < 1 or not (math.isfinite(damping) and damping > 0):
        got = f"block_size {block_size}, damping {damping}"
        raise BadInputError("an option of sparsegpt is out of range", expected="block_size >= 1, damping > 0", got=got)
    dead = products.diagonal() == 0
    factor, n_dampings = inverse_factor(products, dead, damping)
    columns = weight.detach().t().to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    columns[dead] = 0
    removed = torch.zeros(columns.shape, dtype=torch.bool, device=columns.device)
    step = block_size if pattern is None else max(1, block_size // pattern[1]) * pattern[1]

    def choose(block: ColumnBlock, j: int) -> Tensor:
        of_block = removed[block.start : block.start + len(block.columns)]
        if pattern is not None and j % pattern[1] == 0:
            group = slice(j, j + pattern[1])
            losses = _losses(block.columns[group], block.factor[group, group])
            of_block[group].scatter_(0, losses.argsort(dim=0, stable=True)[: pattern[0]], value=True)
        elif pattern is None and j == 0:
            lowest = _lowest if structure == "matrix" else _lowest_of_rows
            of_block.copy_(lowest(_losses(block.columns, block.factor), sparsity, block.start))
        return block.columns[j].masked_fill(of_block[j], 0)

    sweep_columns(columns, factor, choose, together=step)
    return Reconstruction(~removed.t().contiguous(), float32_weight(columns.t()), n_dampings)


def _losses(columns: Tensor, factor: Tensor) -> Tensor:
    """Return the loss of removing each weight, [k, out]: W^2 / U_jj^2."""
    return columns.square() / factor.diagonal().square()[:, None]


def _lowest_of_rows(losses: Tensor, sparsity: float, start: int) -> Tensor:
    """Return the lowest losses of every row, [k, out] bool; of equal losses, the first column's.

    Together with the columns before `start`, a row loses n_removed(sparsity, columns so far).
    """
    count = n_removed(sparsity, start + losses.shape[0]) - n_removed(sparsity, start)
    chosen = losses.argsort(dim=0, stable=True)[:count]
    return torch.zeros_like(losses, dtype=torch.bool).scatter_(0, chosen, value=True)


def _lowest(losses: Tensor, sparsity: float, _start: int) -> Tensor:
    """Return the lowest losses, [k, out] bool; the first in row-major order over [out, k] for equal losses."""
    flat = losses.t().reshape(-1)
    n_lowest = n_removed(sparsity, flat.numel())
    if n_lowest == 0:
        return torch.zeros_like(losses, dtype=torch.bool)
    threshold = flat.kthvalue(n_lowest).values
    lowest = flat < threshold
    lowest[(flat == threshold).nonzero().flatten()[: n_lowest - int(lowest.sum())]] = True
    return lowest.reshape(losses.shape[1], losses.shape[0]).t()
