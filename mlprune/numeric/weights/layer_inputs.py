"""Inputs of a function that scores or reconstructs one layer, and the error of its output."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**17
_ROUNDING = 1e-6
"""Gram matrices of float32 products are positive semidefinite up to rounding; a smaller negative error counts as 0."""


@dataclass(frozen=True)
class FeatureMoments:
    """Sums over the counted tokens of demonstrations, for every input feature of a layer."""

    n_demonstrations: float
    """Number of demonstrations, each counted as often as it is drawn."""
    n_tokens: float
    """Number of their counted tokens."""
    sums: Tensor
    """[in], float64: sum over tokens of x_j."""
    squares: Tensor
    """[in], float64: sum over tokens of x_j ** 2."""
    within_variances: Tensor
    """[in], float64: mean over demonstrations of the variance of x_j over the tokens of one demonstration."""


@dataclass(frozen=True)
class LayerInputs:
    """One layer, and the statistics of its inputs."""

    weight: Tensor
    """[out, in], any float dtype."""
    factors: Tensor | None
    """[in], float32; None if the score reads no statistics."""
    block: int
    layer: str
    moments: FeatureMoments | None = None
    """None unless `sums` are read."""
    products: Tensor | None = None
    """[in, in], float64, symmetric: sum over tokens of x x^T, or the combination over sets; None unless read."""
    gradients: Tensor | None = None
    """[out, in], float32: root of the mean over demonstrations of the squared gradient of the norm of the block's
    output by the weight; None unless read."""

    def of_rows(self, rows: slice) -> "LayerInputs":
        """Return some rows of the layer."""
        gradients = None if self.gradients is None else self.gradients[rows]
        return replace(self, weight=self.weight[rows], gradients=gradients)

    @property
    def norms(self) -> Tensor:
        """The factors.

        Raises:
            StatisticsError: there are none.
        """
        if self.factors is None:
            raise StatisticsError("a score reads statistics, and there are none", block=self.block, layer=self.layer)
        return self.factors


def layer_error(weight: Tensor, changed: Tensor, products: Tensor) -> float:
    """Return the error of one version of a layer; see `layer_errors`."""
    return layer_errors(weight, [changed], products=products)[0]


def layer_errors(weight: Tensor, versions: Sequence[Tensor], *, products: Tensor) -> tuple[float, ...]:
    """Return the squared change of a layer's output over the counted tokens, relative to its square, of each version.

    error = (sum over rows of r G r^T) / (sum over rows of w G w^T),   r = w - w'

    Computed in float64; the sums of chunks of rows are added in the order of the rows, so the values do not depend on
    the number of threads. 0 if the output of the layer is 0 before and after. Errors of several versions, for example
    before and after a refinement, share the denominator, which takes as long as an error.

    Args:
        weight: [out, in], any float dtype: the base model's.
        versions: [out, in] each, any float dtype: 0 where removed.
        products: [in, in], any float dtype: G, symmetric.
    Returns: for each version 0 if nothing changes, 1 if everything is removed.
    Raises:
        ShapeError: the tensors do not fit together.
        StatisticsError: a sum is not finite, or the output becomes non-zero for inputs on which it was 0.
    """
    _check_shapes(weight, versions, products)
    gram = products.detach().to(torch.float64)

    def squares(rows: slice) -> list[float]:
        original = weight[rows].detach().to(device=gram.device, dtype=torch.float64)
        wide = (version[rows].detach().to(device=gram.device, dtype=torch.float64) for version in versions)
        return [_square(original, gram), *(_square(original - changed, gram) for changed in wide)]

    n_together = max(1, _WEIGHTS_PER_CHUNK // max(1, weight.shape[1]))
    chunks = (slice(start, start + n_together) for start in range(0, len(weight), n_together))
    sums = [0.0] * (1 + len(versions))
    for parts in parallel_map(squares, chunks):
        sums = [so_far + part for so_far, part in zip(sums, parts, strict=True)]
    return tuple(_relative(change, sums[0]) for change in sums[1:])


def _relative(change: float, total: float) -> float:
    """Return the quotient of two sums of squares, and check it."""
    error = 0.0 if change == 0 else change / total if total else math.nan
    if not -_ROUNDING <= error < math.inf:
        raise StatisticsError("a layer error is impossible", expected="a finite number >= 0", got=f"{change} / {total}")
    return max(error, 0.0)


def _square(rows: Tensor, gram: Tensor) -> float:
    """Return the sum over rows of r G r^T."""
    return float(((rows @ gram) * rows).sum())


def _check_shapes(weight: Tensor, versions: Sequence[Tensor], products: Tensor) -> None:
    d_in = weight.shape[-1]
    shapes = [tuple(version.shape) for version in versions]
    if weight.ndim != 2 or any(version.shape != weight.shape for version in versions) or products.shape != (d_in, d_in):
        expected, got = f"{tuple(weight.shape)} and {(d_in, d_in)}", f"{shapes} and {tuple(products.shape)}"
        raise ShapeError("the tensors of a layer error do not fit together", expected=expected, got=got)
