"""Quantisation by rounding to nearest: each weight becomes the nearest of 2^bits evenly spaced levels of its group.

A group is a number of consecutive inputs of one row. Its levels are asymmetric: they span the smallest to the largest
weight of the group, and 0 is always one of them. This is the quantiser of the round-to-nearest baseline in GPTQ
(Frantar et al., arXiv:2210.17323) with groups. Deviations: the scale is float32 instead of float16, and the codes are
not stored: the weights get their dequantised values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 128
"""Weights of a group by default, as published."""

_ROUNDED_TOGETHER = 2**18
"""Weights that are rounded at once, in whole rows: 1 MiB as float32, which stays in cache. No value depends on it."""


@dataclass(frozen=True)
class Quantisation:
    """The number of levels, and the weights that share them."""

    bits: int
    """A weight has one of 2^bits values."""
    group: int = GROUP
    """Consecutive inputs of a row that share their levels. The last group of a row is shorter if they do not divide
    the row."""


def quantise(weight: Tensor, quantisation: Quantisation) -> None:
    """Round the weights of a layer in place.

    s = (max(w, 0) - min(w, 0)) / (2^bits - 1),  z = round(-min(w, 0) / s),
    w'[j] = s * clamp(round(w[j] / s), -z, 2^bits - 1 - z),  with max and min over the group of j

    Everything is computed in float32, with ties to even, and w' is rounded to the dtype of the weight. A weight that is
    0 stays 0, and a group of zeros stays as it is. The error of a weight is at most s / 2, up to float32 rounding.

    Args:
        weight: [out, in], finite, any float dtype, device and memory layout.
    """
    n_rows, n_inputs = weight.shape
    rows_together = max(1, _ROUNDED_TOGETHER // max(1, n_inputs))
    n_grouped = n_inputs // quantisation.group * quantisation.group
    for start in range(0, n_rows, rows_together):
        rows = weight[start : start + rows_together]
        for part, group in ((rows[:, :n_grouped], quantisation.group), (rows[:, n_grouped:], n_inputs - n_grouped)):
            if part.numel():
                grouped = part.float().reshape(len(rows), -1, group)
                part.copy_(_rounded(grouped, 2**quantisation.bits - 1).view(part.shape))


def quantised(weight: Tensor, quantisation: Quantisation) -> Tensor:
    """Return the rounded weights of a layer; `weight` stays as it is. See `quantise`."""
    copy = weight.clone()
    quantise(copy, quantisation)
    return copy


def _rounded(weights: Tensor, highest: int) -> Tensor:
    """Round weights of whole groups, float32 [rows, groups, group]; `highest` is the number of levels minus 1."""
    low, high = weights.amin(dim=2, keepdim=True).clamp_(max=0), weights.amax(dim=2, keepdim=True).clamp_(min=0)
    # a tensor as divisor: accelerators multiply by the reciprocal of a number, which rounds differently
    scale = (high - low) / torch.full((), highest, dtype=torch.float32, device=weights.device)
    scale = torch.where(scale > 0, scale, 1)
    lowest_code = torch.round(low / scale)
    codes = (weights / scale).round_()
    return codes.clamp_(lowest_code, lowest_code + highest).mul_(scale)
