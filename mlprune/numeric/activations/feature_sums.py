"""Sums of features: per demonstration the sum of each feature over the counted tokens, and its squared deviations.

Both are kept per demonstration, so that means and variances of any weighted set need no new forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.weights.layer_inputs import FeatureMoments


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
