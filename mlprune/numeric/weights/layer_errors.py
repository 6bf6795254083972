"""Relative error of a layer's output, from the Gram matrix of its inputs."""

import math

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**17
_ROUNDING = 1e-6
"""Gram matrices of float32 products are positive semidefinite up to rounding; a smaller negative error counts as 0."""


def layer_error(weight: Tensor, changed: Tensor, products: Tensor) -> float:
    """Return the squared change of a layer's output over the counted tokens, relative to its square.

    error = (sum over rows of r G r^T) / (sum over rows of w G w^T),   r = w - w'

    Computed in float64; the sums of chunks of rows are added in the order of the rows, so the value does not depend on
    the number of threads. 0 if the output of the layer is 0 before and after.

    Args:
        weight: [out, in], any float dtype: the base model's.
        changed: [out, in], any float dtype: 0 where removed.
        products: [in, in], any float dtype: G, symmetric.
    Returns: 0 if nothing changes, 1 if everything is removed.
    Raises:
        ShapeError: the tensors do not fit together.
        StatisticsError: a sum is not finite, or the output becomes non-zero for inputs on which it was 0.
    """
    if weight.ndim != 2 or changed.shape != weight.shape or products.shape != (weight.shape[1], weight.shape[1]):
        expected = f"weight {tuple(weight.shape)}, twice, and {(weight.shape[-1], weight.shape[-1])}"
        got = f"{tuple(changed.shape)} and {tuple(products.shape)}"
        raise ShapeError("the tensors of a layer error do not fit together", expected=expected, got=got)
    gram = products.detach().to(torch.float64)

    def squares(rows: slice) -> tuple[float, float]:
        original = weight[rows].detach().to(device=gram.device, dtype=torch.float64)
        difference = original - changed[rows].detach().to(device=gram.device, dtype=torch.float64)
        return _square(difference, gram), _square(original, gram)

    n_together = max(1, _WEIGHTS_PER_CHUNK // max(1, weight.shape[1]))
    chunks = (slice(start, start + n_together) for start in range(0, len(weight), n_together))
    change = total = 0.0
    for of_change, of_total in parallel_map(squares, chunks):
        change, total = change + of_change, total + of_total
    error = 0.0 if change == 0 else change / total if total else math.nan
    if not -_ROUNDING <= error < math.inf:
        raise StatisticsError("a layer error is impossible", expected="a finite number >= 0", got=f"{change} / {total}")
    return max(error, 0.0)


def _square(rows: Tensor, gram: Tensor) -> float:
    """Return the sum over rows of r G r^T."""
    return float(((rows @ gram) * rows).sum())
