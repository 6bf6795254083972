"""Column sweep: change the weights of a layer column by column, while later columns compensate for each change.

The optimal brain surgeon for a fixed order of columns (Frantar & Alistarh, arXiv:2301.00774 and 2210.17323). With the
damped Hessian H and the upper factor U of its inverse, H^-1 = U^T U, column j gets new values v and

    error[i] = (W[i, j] - v[i]) / U[j, j];   W[i, k] -= error[i] * U[j, k] for all k > j

What the new values are is up to a choice: SparseGPT sets removed weights to 0, GPTQ rounds. Everything is float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import StatisticsError

COLUMNS_TOGETHER = 128
"""Columns between which every change is applied at once; later columns get the changes of a block in one product."""
_MAX_DAMPINGS = 10


@dataclass(frozen=True)
class ColumnBlock:
    """Consecutive columns during a sweep."""

    start: int
    """Place of the first one in the layer."""
    columns: Tensor
    """[k, out] float64: new values of the columns that were changed, current values of the others."""
    factor: Tensor
    """[k, k] float64, the part of U of these columns."""


Choice = Callable[[ColumnBlock, int], Tensor]
"""Returns the new values, [out] float64, of a column from its block and its place in the block. Columns in order."""


def sweep_columns(columns: Tensor, factor: Tensor, choose: Choice, *, together: int = COLUMNS_TOGETHER) -> None:
    """Give every column new values, in place.

    Args:
        columns: [in, out] float64, the transposed weight.
        factor: [in, in] float64, U.
        choose: returns the new values of a column.
        together: columns of a block.
    """
    for start in range(0, len(columns), together):
        own, following = slice(start, start + together), slice(start + together, None)
        errors = _change_block(ColumnBlock(start, columns[own], factor[own, own]), choose)
        columns[following].addmm_(factor[own, following].t(), errors, alpha=-1)


def _change_block(block: ColumnBlock, choose: Choice) -> Tensor:
    """Change the columns of a block in place, and return their errors, [k, out]."""
    errors = torch.empty_like(block.columns)
    for j, column in enumerate(block.columns):
        values = choose(block, j)
        errors[j] = (column - values).div_(block.factor[j, j])
        column.copy_(values)
        block.columns[j + 1 :].addr_(block.factor[j, j + 1 :], errors[j], alpha=-1)
    return errors


def inverse_factor(products: Tensor, dead: Tensor, damping: float) -> tuple[Tensor, int]:
    """Return the upper U with H^-1 = U^T U of the damped Hessian, and the number of times the damping was raised.

    H is `products` with 1 on the diagonal for dead features, plus `damping` times the mean of this diagonal. The
    damping is multiplied by 10 until H is positive definite. The Cholesky factor of H with rows and columns reversed
    gives H = R R^T with R upper; then U = R^-1.

    Args:
        products: [in, in], symmetric, any float dtype.
        dead: [in] bool, True for features that are never active.
    Returns: U, [in, in] float64; 0 if the damping stayed as it is.
    Raises:
        StatisticsError: H is not positive definite after the damping was multiplied by 10 ten times.
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
    raise StatisticsError("a Hessian is not positive definite with any damping", damping=damping * 10**_MAX_DAMPINGS)
