"""Sums per demonstration: of features and their squares, and of squared gradients of weights.

Sums of features: per demonstration the sum of each feature over the counted tokens, and its squared deviations.

Both are kept per demonstration, so that means and variances of any weighted set need no new forward pass.

Squared gradients of weights: sums over demonstrations, from the inputs of a layer and the gradients of its outputs.

A gradient of one demonstration is as large as the weight, so it exists for a few rows at a time only. Threads work on
different rows, and each row adds the demonstrations in their order, so the bits do not depend on the number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.processes.parallel import parallel_map

_WEIGHTS_TOGETHER = 2**18
"""Weights whose gradients are computed at once on the CPU: 1 MiB as float32. Another value may change last bits."""
_ACCELERATOR_WEIGHTS_TOGETHER = 2**24
"""The same on an accelerator."""
Flow = tuple[Tensor, Tensor]
"""Of one demonstration: [tokens, out], the gradients of a layer's outputs, and [tokens, in], its inputs."""


@dataclass(frozen=True)
class FeatureSums:
    """Sums of the features of one input of layers, for several demonstrations."""

    sums: Tensor
    """[n, in] float64: sum over counted tokens of x_j; 0 without counted tokens."""
    deviations: Tensor
    """[n, in] float64: sum over counted tokens of (x_j - mean of the demonstration) ** 2."""


def feature_sums(demonstrations: Sequence[Tensor]) -> FeatureSums:
    """Sum the features of some demonstrations and their squared deviations from the demonstration's own means.

    Everything is float64; the mean is subtracted before squaring, so that large means do not cancel digits. On an
    accelerator nothing is checked; call `check_feature_sums` with the copies on the CPU.

    Args:
        demonstrations: [tokens, in] each, any float dtype, counted tokens only; there is at least one.
    """
    sums, deviations = [], []
    for tokens in demonstrations:
        wide = tokens.detach().to(torch.float64)
        total = wide.sum(dim=0)
        sums.append(total)
        deviations.append((wide - total / max(1, len(wide))).square_().sum(dim=0))
    return FeatureSums(torch.stack(sums), torch.stack(deviations))


def check_feature_sums(values: Tensor) -> None:
    """Check sums or deviations, [n, in].

    Raises:
        StatisticsError: a value is not finite.
    """
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        row, feature = (~finite).nonzero()[0].tolist()
        raise StatisticsError("a sum of counted activations is not finite", row=row, feature=feature)


def feature_moments(sums: FeatureSums, n_tokens: Tensor, weights: Tensor | None = None) -> FeatureMoments:
    """Return the moments of a set of demonstrations, each counted as often as its weight says.

    sums_j = sum_n w_n s_nj,   squares_j = sum_n w_n (d_nj + s_nj ** 2 / t_n),
    within_variances_j = sum_n w_n d_nj / t_n / sum_n w_n       (demonstrations without counted tokens have variance 0)

    Args:
        sums: of all demonstrations.
        n_tokens: [n] int64, counted tokens t_n.
        weights: [n] float64, >= 0; None: each counts once.
    Raises:
        ShapeError: the three do not fit together.
        StatisticsError: a sum is not finite, or all weights are 0.
    """
    n = len(n_tokens)
    if sums.sums.shape != sums.deviations.shape or len(sums.sums) != n or (weights is not None and len(weights) != n):
        raise ShapeError("sums of features do not fit the demonstrations", expected=n, got=tuple(sums.sums.shape))
    for values in (sums.sums, sums.deviations):
        check_feature_sums(values)
    counts = torch.ones(n, dtype=torch.float64) if weights is None else weights.to(torch.float64)
    n_counted = float(counts.sum())
    if not n_counted > 0:
        raise StatisticsError("all demonstrations have weight 0", n=n)
    tokens = n_tokens.to(torch.float64)
    lengths = tokens.clamp(min=1).unsqueeze(1)
    squares = sums.deviations + sums.sums.square() / lengths
    return FeatureMoments(
        n_demonstrations=n_counted,
        n_tokens=float(counts @ tokens),
        sums=_weighted(sums.sums, counts),
        squares=_weighted(squares, counts),
        within_variances=_weighted(sums.deviations / lengths, counts) / n_counted,
    )


def joined_moments(sets: Sequence[FeatureMoments], shares: Sequence[float]) -> FeatureMoments:
    """Return the moments of several sets as if each were one demonstration set with its share of all demonstrations.

    Every set is scaled by its share divided by its number of demonstrations, so that sets of different sizes count by
    their shares; the scaled sets have the number of demonstrations of all sets together.

    Args:
        sets: at least one.
        shares: weight of each set; they sum to 1.
    """
    if len(sets) == 1:
        return sets[0]
    n = sum(moments.n_demonstrations for moments in sets)
    scales = [share * n / moments.n_demonstrations for share, moments in zip(shares, sets, strict=True)]

    def total(values: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
        return torch.stack([value * factor for value, factor in zip(values, factors, strict=True)]).sum(dim=0)

    return FeatureMoments(
        n_demonstrations=n,
        n_tokens=sum(scale * moments.n_tokens for scale, moments in zip(scales, sets, strict=True)),
        sums=total([moments.sums for moments in sets], scales),
        squares=total([moments.squares for moments in sets], scales),
        within_variances=total([moments.within_variances for moments in sets], shares),
    )


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum over demonstrations of [n, in], added in their order."""
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    for row, weight in zip(values, weights.tolist(), strict=True):
        total += row * weight
    return total


class GradientSquares:
    """Running sum over demonstrations of the squared gradient of one layer's weight.

    G[i, j] = sum over demonstrations n of w[n] * (sum over tokens t of d[n, t, i] * x[n, t, j]) ** 2

    The inner sums are products of float32 matrices; squares are computed and added in float64.

    Args:
        shape: (out, in).
        device: of the sum.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device) -> None:
        self._sums = torch.zeros(shape, dtype=torch.float64, device=device)
        self._weight = 0.0

    @torch.inference_mode()
    def add(self, flows: Sequence[Flow], *, weights: Sequence[float] | None = None) -> None:
        """Add demonstrations, in their order. The result does not depend on the number of calls or threads.

        Args:
            flows: one per demonstration, any float dtype. One without tokens has the gradient 0, and counts.
            weights: how often each demonstration counts; None: once.
        Raises:
            ShapeError: a part has another number of features than the layer.
        """
        d_out, d_in = self._sums.shape
        for gradients, inputs in flows:
            if gradients.shape[1:] != (d_out,) or inputs.shape[1:] != (d_in,) or len(gradients) != len(inputs):
                expected = f"[tokens, {d_out}] and [tokens, {d_in}]"
                got = f"{tuple(gradients.shape)} and {tuple(inputs.shape)}"
                raise ShapeError("gradients and inputs do not fit the layer", expected=expected, got=got)
        factors = [1.0] * len(flows) if weights is None else list(weights)
        used = [
            (gradients.to(torch.float32), inputs.to(torch.float32), factor)
            for (gradients, inputs), factor in zip(flows, factors, strict=True)
            if factor and len(gradients)
        ]

        def add_rows(rows: slice) -> None:
            for gradients, inputs, factor in used:
                of_weights = (gradients[:, rows].T @ inputs).to(torch.float64)
                self._sums[rows].addcmul_(of_weights, of_weights, value=factor)

        list(parallel_map(add_rows, self._row_chunks()))
        self._weight += sum(factors)

    def root_means(self) -> Tensor:
        """Return the root of the mean over demonstrations, [out, in] float32.

        Raises:
            StatisticsError: no demonstration was added, or a gradient is not finite.
        """
        if not self._weight:
            raise StatisticsError("gradients have no demonstrations")
        means = (self._sums / self._weight).sqrt_().to(torch.float32)
        wrong = ~torch.isfinite(means)
        if bool(wrong.any()):
            row, column = wrong.nonzero()[0].tolist()
            raise StatisticsError("a gradient is not finite", output=row, feature=column)
        return means

    def _row_chunks(self) -> list[slice]:
        d_out, d_in = self._sums.shape
        together = _WEIGHTS_TOGETHER if self._sums.device.type == "cpu" else _ACCELERATOR_WEIGHTS_TOGETHER
        n_together = max(1, together // max(1, d_in))
        return [slice(start, start + n_together) for start in range(0, d_out, n_together)]
