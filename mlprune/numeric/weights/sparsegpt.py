"""SparseGPT: removing weights column after column while the weights that stay make up for it.

Frantar & Alistarh, SparseGPT, arXiv:2301.00774. For one layer the squared change of its outputs over the counted
tokens is sum of (w - w') H (w - w')^T over rows, with H = X X^T; the published code scales H by 2 over the number of
samples, which cancels everywhere but in the damping of features that are never active. Where products come from, which
variant is pruned, and how results are stored is left to others. Bits repeat for one number of the library's threads.

Where this leaves the published code: a column block loses exactly floor(sparsity * weights) weights, of equal ones the
row-major lower first (there: all that are not above a threshold, one too many and all ties with it); groups of N:M
never cross a column block; a Hessian that is not positive definite is damped more (there: an exception); the upper
factor of the inverse comes from one factorisation instead of two and an inverse; all of it is float64 (there: float32).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.selection.levels import n_removed

_MAX_DAMPINGS = 10


@dataclass(frozen=True)
class SparseGptResult:
    """One layer after SparseGPT."""

    keep: Tensor
    """[out, in] bool, True where the weight stays."""
    weight: Tensor
    """[out, in] float32: updated weights; exactly 0 where removed, and at features that are never active."""
    n_dampings: int
    """How often the damping was raised tenfold before the Hessian was positive definite; 0 in the normal case."""


def sparsegpt(
    weight: Tensor,
    products: Tensor,
    *,
    sparsity: float,
    structure: str = "matrix",
    block_size: int = 128,
    damping: float = 0.01,
) -> SparseGptResult:
    """Remove weights and update those that stay, so that the layer's outputs change little.

    H = products, with 1 on the diagonal of features that are never active, whose weights become 0, plus `damping` times
    its mean diagonal on the diagonal. U is the upper factor of its inverse, H^-1 = U^T U. Column j, left to right:

        error[i] = W[i, j] / U[j, j] where removed, else 0;   W[i, k] -= error[i] * U[j, k] for all k >= j

    `matrix`: when a block of `block_size` columns is reached, its weights with the lowest W[i, j]^2 / U[j, j]^2 go, all
    rows together. `N:M`: the same, N in each row's group of M columns, when its first column is reached.

    Args:
        weight: [out, in], any float dtype, finite.
        products: [in, in], from `products.GramAccumulator`, of the input this layer reads.
        sparsity: in [0, 1); for N:M it has to be N / M.
        structure: "matrix" or "N:M".
        block_size: columns whose masks are chosen together, >= 1; for N:M cut to a multiple of M.
        damping: share of the mean diagonal, > 0.
    Raises:
        ShapeError: `weight` is no matrix, `products` does not fit it, or M does not divide `in`.
        StatisticsError: `products` or `weight` holds a value that cannot be, the Hessian is not positive definite after
            ten tenfold dampings, or an updated weight is beyond float32.
        BadInputError: an option is out of range, or structure and sparsity contradict each other.
    """
    _check_tensors(weight, products)
    pattern = _pattern(structure, sparsity, weight.shape[1])
    if block_size < 1 or not (math.isfinite(damping) and damping > 0):
        got = f"block_size {block_size}, damping {damping}"
        raise BadInputError("an option of sparsegpt is out of range", expected="block_size >= 1, damping > 0", got=got)
    dead = products.diagonal() == 0
    factor, n_dampings = _inverse_factor(products, dead, damping)
    columns = weight.detach().t().to(torch.float64, copy=True, memory_format=torch.contiguous_format)
    columns[dead] = 0
    removed = torch.zeros(columns.shape, dtype=torch.bool, device=columns.device)
    step = block_size if pattern is None else max(1, block_size // pattern[1]) * pattern[1]
    for start in range(0, columns.shape[0], step):
        here, behind = slice(start, start + step), slice(start + step, None)
        if pattern is None:
            removed[here] = _lowest(_losses(columns[here], factor[here, here]), sparsity)
        errors = _prune_block(columns[here], removed[here], factor[here, here], pattern)
        columns[behind].addmm_(factor[here, behind].t(), errors, alpha=-1)
    updated = columns.t().to(torch.float32).contiguous()
    if not bool(torch.isfinite(updated).all()):
        raise StatisticsError("an updated weight is beyond float32")
    return SparseGptResult(keep=~removed.t().contiguous(), weight=updated, n_dampings=n_dampings)


def _prune_block(columns: Tensor, removed: Tensor, factor: Tensor, pattern: tuple[int, int] | None) -> Tensor:
    """Walk through the columns of a block, [k, out], in place, and return their errors, [k, out].

    With a pattern the groups' masks are chosen on the way and written to `removed`, [k, out].
    """
    errors = torch.zeros_like(columns)
    for j, column in enumerate(columns):
        if pattern is not None and j % pattern[1] == 0:
            group = slice(j, j + pattern[1])
            losses = _losses(columns[group], factor[group, group])
            removed[group].scatter_(0, losses.argsort(dim=0, stable=True)[: pattern[0]], value=True)
        errors[j] = (column / factor[j, j]).masked_fill_(~removed[j], 0)
        column.masked_fill_(removed[j], 0)
        columns[j + 1 :].addr_(factor[j, j + 1 :], errors[j], alpha=-1)
    return errors


def _losses(columns: Tensor, factor: Tensor) -> Tensor:
    """What removing each weight costs, [k, out]: W^2 / U_jj^2."""
    return columns.square() / factor.diagonal().square()[:, None]


def _lowest(losses: Tensor, sparsity: float) -> Tensor:
    """[k, out] bool: the lowest of all, of equal ones those that come first row-major over [out, k]."""
    flat = losses.t().reshape(-1)
    n_lowest = n_removed(sparsity, flat.numel())
    if n_lowest == 0:
        return torch.zeros_like(losses, dtype=torch.bool)
    threshold = flat.kthvalue(n_lowest).values
    lowest = flat < threshold
    lowest[(flat == threshold).nonzero().flatten()[: n_lowest - int(lowest.sum())]] = True
    return lowest.reshape(losses.shape[1], losses.shape[0]).t()


def _inverse_factor(products: Tensor, dead: Tensor, damping: float) -> tuple[Tensor, int]:
    """Upper U with H^-1 = U^T U of the damped Hessian, and how often the damping was raised.

    Turned around in both directions, H = R R^T with R upper, from the usual Cholesky factor; then U = R^-1.
    """
    diagonal = products.detach().diagonal().to(torch.float64).masked_fill(dead, 1)
    mean = float(diagonal.mean())
    for n_dampings in range(_MAX_DAMPINGS + 1):
        turned = products.detach().to(torch.float64).flip(0, 1)
        turned.diagonal().copy_((diagonal + damping * 10**n_dampings * mean).flip(0))
        lower, failed_at = torch.linalg.cholesky_ex(turned)
        if int(failed_at) == 0:
            del turned
            identity = torch.eye(lower.shape[0], dtype=torch.float64, device=lower.device)
            factor = torch.linalg.solve_triangular(lower.flip(0, 1), identity, upper=True)
            if bool(torch.isfinite(factor).all()):
                return factor, n_dampings
    raise StatisticsError(
        "a Hessian is not positive definite however much it is damped", damping=damping * 10**_MAX_DAMPINGS
    )


def _pattern(structure: str, sparsity: float, d_in: int) -> tuple[int, int] | None:
    """(N, M) of an N:M structure; None for `matrix`."""
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    if structure == "matrix":
        return None
    n, _, m = structure.partition(":")
    if not (n.isdecimal() and m.isdecimal() and 0 < int(n) < int(m)):
        raise BadInputError("not a structure of sparsegpt", expected="matrix or N:M", got=structure)
    if sparsity != int(n) / int(m):
        raise BadInputError("sparsity and structure differ", expected=int(n) / int(m), got=sparsity)
    if d_in % int(m):
        raise ShapeError("a row does not divide into groups", expected=f"a multiple of {m}", got=d_in)
    return int(n), int(m)


def _check_tensors(weight: Tensor, products: Tensor) -> None:
    if weight.ndim != 2 or products.shape != (weight.shape[1], weight.shape[1]):
        expected = f"[out, in] and [in, in], weight {tuple(weight.shape)}"
        raise ShapeError("products do not fit the weight", expected=expected, got=tuple(products.shape))
    if not bool(torch.isfinite(weight).all()):
        raise StatisticsError("a weight is not finite")
    diagonal = products.diagonal()
    if not bool(torch.isfinite(products).all()) or bool((diagonal < 0).any()):
        raise StatisticsError("a product of activations is not finite, or a sum of squares negative")
