"""GPTQ: round weights column by column and update the remaining weights to compensate; and rounding to nearest.

Frantar et al., GPTQ, arXiv:2210.17323. The squared change of a layer's outputs over the counted tokens is the sum of
(w - w') H (w - w')^T over rows, with H = X X^T; `column_sweep` has the update. A mask is fixed before: a removed weight
becomes 0 whatever its value, and its error goes to the later columns like that of a rounded one. Masks and rounding are
so compensated together, as in the joint form of SparseGPT (arXiv:2301.00774).

Inputs that are removed from all rows, those of heads and neurons, are eliminated before the first column: with H of the
other inputs K and the removed ones R, W_K = W_K + W_R H_RK H_KK^-1. The sweep then visits the columns of K alone, with
H_KK, so its groups are counted over K. These are the steps of a sweep that starts with the columns of R.

Differences to the published code: groups always have their original columns, with levels that are fixed beforehand if
columns are visited in another order; features that are never active keep their weights, rounded to nearest (there: 0),
and do not count in the mean of the damping; a Hessian that is not positive definite is damped more (there: an
exception); the error of a column is that of the stored weight, so it contains the rounding to the stored dtype;
everything is float64 (there: float32).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.weights.codes import CodeFormat, Codes
from mlprune.numeric.weights.column_sweep import COLUMNS_TOGETHER, ColumnBlock, inverse_factor, sweep_columns
from mlprune.numeric.weights.sparsegpt import check_tensors


@dataclass(frozen=True)
class InputFactor:
    """What GPTQ reads of an input; all layers that read the input share it."""

    factor: Tensor
    """[n, n] float64, U of the kept columns in their order."""
    order: Tensor
    """[n] int64: the kept columns in the order in which they are rounded, by their places among them."""
    n_dead: int
    """Kept features that are never active."""
    n_dampings: int
    """Number of times that the damping was multiplied by 10 until the Hessian was positive definite; normally 0."""
    by_activation: bool
    kept: Tensor | None = None
    """[in] bool, False for features that are removed from all rows; None if there are none."""
    of_removed: Tensor | None = None
    """[removed, n] float64, H_RK H_KK^-1: what a kept weight gets of each removed one. The columns are not ordered."""

    @property
    def n_inputs(self) -> int:
        """Number of features, with the removed ones."""
        return len(self.order if self.kept is None else self.kept)


def input_factor(
    products: Tensor, *, damping: float = 0.01, by_activation: bool = False, kept: Tensor | None = None
) -> InputFactor:
    """Return what GPTQ reads of an input.

    H is `products` divided by the mean of its diagonal over kept active features, plus `damping` on the diagonal.
    Features that are never active have 1 + `damping` there, so that they neither give nor get compensation.

    Args:
        products: [in, in], any float dtype: Gram matrix of the input.
        damping: > 0.
        by_activation: visit the columns in falling order of the diagonal, of equal ones the first; else as they are.
        kept: [in] bool, False for features that are removed from all rows; at least one is kept. None if all are.
    Raises:
        BadInputError: the damping is out of range.
        ShapeError: `products` is not square.
        StatisticsError: `products` contains an impossible value, or no damping makes H positive definite.
    """
    if not (math.isfinite(damping) and damping > 0):
        raise BadInputError("an option of gptq is out of range", expected="damping > 0", got=damping)
    check_tensors(products.diagonal().to(torch.float64)[None], products)
    remaining = products if kept is None else products[kept][:, kept]
    diagonal = remaining.diagonal().to(torch.float64)
    dead = diagonal == 0
    n_dead = int(dead.sum())
    mean = float(diagonal.sum()) / max(1, len(diagonal) - n_dead)
    scaled = remaining.to(torch.float64) / mean if mean > 0 else remaining.to(torch.float64)
    order = torch.arange(len(diagonal), device=products.device)
    if by_activation:
        order = diagonal.argsort(descending=True, stable=True)
        scaled = scaled[order][:, order]
    factor, n_dampings = inverse_factor(scaled, dead[order], damping)
    found = InputFactor(factor, order, n_dead, n_dampings, by_activation, kept)
    if kept is None:
        return found
    mixed = products[~kept][:, kept].to(torch.float64)
    return replace(found, of_removed=_of_removed(mixed / mean if mean > 0 else mixed, found))


def _of_removed(mixed: Tensor, found: InputFactor) -> Tensor:
    """Return H_RK H_KK^-1 = H_RK U^T U, [removed, n] float64, from H_RK; neither is in the order of the sweep."""
    weights = torch.empty_like(mixed)
    weights[:, found.order] = mixed[:, found.order] @ found.factor.t() @ found.factor
    return weights


def gptq(
    weight: Tensor, inputs: InputFactor, *, layout: CodeFormat, keep: Tensor | None = None, dtype: torch.dtype
) -> Codes:
    """Round the weights of a layer, so that its outputs change little.

    The levels of a group are those of its current kept weights when its first column is rounded; those of the weights
    before the first column if groups are rows or columns are visited by activation.

    Args:
        weight: [out, in], any float dtype, finite; also where it is removed.
        keep: [out, in] bool, True where the weight stays; None if all stay.
        dtype: of the stored scales and of the dequantised weights.
    Raises:
        BadInputError: the columns of a group are not swept together.
        ShapeError: the tensors do not fit together.
        StatisticsError: a weight is not finite, or an updated one is beyond float64.
    """
    if layout.group is not None and COLUMNS_TOGETHER % layout.group:
        expected = f"a divisor of {COLUMNS_TOGETHER}, or None"
        raise BadInputError("the groups of gptq are not parts of its blocks", expected=expected, got=layout.group)
    columns = _columns(weight, keep, n_inputs=inputs.n_inputs)
    if inputs.kept is not None and inputs.of_removed is not None:
        removed = columns[~inputs.kept]
        columns, keep = _of_kept(columns, keep, inputs.kept)
        columns.addmm_(inputs.of_removed.t(), removed)
    rounding = _Rounding(columns, keep, inputs=inputs, layout=layout, dtype=dtype)
    ordered = columns[inputs.order] if inputs.by_activation else columns
    sweep_columns(ordered, inputs.factor, rounding.choose)
    if not bool(torch.isfinite(ordered).all()):
        raise StatisticsError("an updated weight is not finite")
    return rounding.result()


def nearest(
    weight: Tensor,
    layout: CodeFormat,
    *,
    keep: Tensor | None = None,
    kept: Tensor | None = None,
    dtype: torch.dtype,
) -> Codes:
    """Round the weights of a layer to the nearest levels of their groups; removed ones become 0.

    Args:
        weight: [out, in], any float dtype, finite.
        keep: [out, in] bool, True where the weight stays; None if all stay.
        kept: [in] bool, False for features that are removed from all rows, which get no codes; None if all have some.
        dtype: of the stored scales and of the dequantised weights.
    Raises:
        ShapeError: the mask does not fit the weight.
        StatisticsError: a weight is not finite.
    """
    columns = _columns(weight, keep, n_inputs=weight.shape[-1])
    if kept is not None:
        columns, keep = _of_kept(columns, keep, kept)
    if keep is not None:
        columns.masked_fill_(~keep.t(), 0)
    values = torch.empty(columns.shape, dtype=torch.uint8, device=columns.device)
    found = []
    for group in _groups(layout, len(columns)):
        scale, zero = layout.levels(columns[group], dtype)
        values[group] = layout.codes(columns[group], scale, zero).to(torch.uint8)
        found.append((scale, zero))
    scales, zeros = (torch.stack(one) for one in zip(*found, strict=True))
    return _result(layout, values, scales=scales, zeros=zeros, kept=kept, dtype=dtype)


class _Rounding:
    """The choice of a sweep: the nearest levels, and 0 for removed weights.

    Args:
        columns: [n, out] float64, the kept ones in their original order.
        keep: [out, n] bool.
    """

    def __init__(
        self, columns: Tensor, keep: Tensor | None, *, inputs: InputFactor, layout: CodeFormat, dtype: torch.dtype
    ) -> None:
        self._layout, self._dtype = layout, dtype
        self._order, self._kept = inputs.order.tolist(), inputs.kept
        self._removed = None if keep is None else ~keep.t().contiguous()
        n_inputs, n_rows = columns.shape
        self._values = torch.empty(columns.shape, dtype=torch.uint8, device=columns.device)
        self._scales = columns.new_empty(layout.n_groups(n_inputs), n_rows)
        self._zeros = torch.empty_like(self._scales)
        self._is_fixed = inputs.by_activation or layout.group is None
        if self._is_fixed:
            for number, group in enumerate(_groups(layout, n_inputs)):
                self._set_levels(number, columns[group], group)

    def choose(self, block: ColumnBlock, j: int) -> Tensor:
        """Return the dequantised values of a column, [out] float64; see `Choice`."""
        place = self._order[block.start + j]
        size = self._layout.group or len(self._order)
        group = place // size
        if not self._is_fixed and place % size == 0:
            self._set_levels(group, block.columns[j : j + size], slice(place, place + size))
        scale, zero = self._scales[group], self._zeros[group]
        codes = self._layout.codes(block.columns[j], scale, zero)
        if self._removed is not None:
            codes = torch.where(self._removed[place], zero, codes)
        self._values[place] = codes.to(torch.uint8)
        return codes.sub_(zero).mul_(scale).to(self._dtype).to(torch.float64)

    def result(self) -> Codes:
        """Return the codes after the last column."""
        of_groups = {"scales": self._scales, "zeros": self._zeros}
        return _result(self._layout, self._values, **of_groups, kept=self._kept, dtype=self._dtype)

    def _set_levels(self, number: int, columns: Tensor, group: slice) -> None:
        kept = columns if self._removed is None else columns.masked_fill(self._removed[group], 0)
        self._scales[number], self._zeros[number] = self._layout.levels(kept, self._dtype)


def _columns(weight: Tensor, keep: Tensor | None, *, n_inputs: int) -> Tensor:
    """Return the transposed weight, [in, out] float64, as a copy."""
    if weight.ndim != 2 or weight.shape[1] != n_inputs or (keep is not None and keep.shape != weight.shape):
        got = (tuple(weight.shape), None if keep is None else tuple(keep.shape))
        raise ShapeError("weight, mask and inputs do not fit together", expected=f"[out, {n_inputs}]", got=got)
    if not bool(torch.isfinite(weight).all()):
        raise StatisticsError("a weight is not finite")
    return weight.detach().t().to(torch.float64, copy=True, memory_format=torch.contiguous_format)


def _of_kept(columns: Tensor, keep: Tensor | None, kept: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the columns of kept features, [n, out], and their part of the keep mask, [out, n]."""
    return columns[kept], None if keep is None else keep[:, kept]


def _groups(layout: CodeFormat, n_inputs: int) -> Iterator[slice]:
    size = layout.group or n_inputs
    return (slice(start, min(start + size, n_inputs)) for start in range(0, n_inputs, size))


def _result(
    layout: CodeFormat, values: Tensor, *, scales: Tensor, zeros: Tensor, kept: Tensor | None, dtype: torch.dtype
) -> Codes:
    """Return codes from tensors whose first dimension is that of columns or groups."""
    of_groups = None if layout.symmetric else zeros.t().to(torch.uint8).contiguous()
    return Codes(layout, values.t().contiguous(), scales.t().to(dtype).contiguous(), of_groups, kept)
