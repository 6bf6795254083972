"""Aggregation: one factor for every feature out of the factors of several demonstration sets, one a language, say.

A score |W[i, j]| * factor_j is linear in the factor, so for it the mean or the maximum over sets of the factors is that
of the scores. A set's factor is made from its mean over demonstrations (`statistics.mean_squares`), so that sets of
different size compare; making it is the caller's part.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError

AggregationName = Literal["mean", "max", "variance", "pooled"]
"""The same words as in a recipe; arithmetic does not import them from there."""


def aggregated(
    factors: Tensor, how: AggregationName, *, variance_weight: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """Make one factor of the factors f[l, j] of L sets, whose shares p[l] are the weights scaled to sum to 1.

    mean:      m_j = sum over l of p[l] * f[l, j]
    max:       max over l of f[l, j]
    variance:  m_j + variance_weight * sum over l of p[l] * (f[l, j] - m_j) ** 2
    pooled:    sqrt(sum over l of p[l] * s[l, j]), where s[l, j] is given instead of f: a mean of squares

    `variance` follows the idea of M-Wanda (Choenni & Titov, arXiv:2505.21171): features whose activation differs
    between languages are worth more than their mean says. The variance is that of a population, divided by the sum of
    shares and not by L - 1. M-Wanda's other two parts, a term for how often a feature is active and sparsities by how
    languages correlate in a layer, are no aggregation and not here. Sums are float64, set after set.

    Args:
        factors: [L, in], float32 or wider, >= 0, L >= 1; for `pooled` the sets' mean squares.
        how: a name from the list above.
        variance_weight: >= 0, read by `variance` only.
        weights: [L], >= 0, in any unit; None: equal. `max` knows no weights and refuses them.
    Returns: [in], float32, >= 0.
    Raises:
        ShapeError: `factors` is not a matrix, or `weights` is not one number a set.
        StatisticsError: there is no set, a value is negative or non-finite, or the result is beyond float32.
        BadInputError: `how` is unknown, `max` was given weights, the weights are no shares, or the variance's weight
            is negative or not finite.
    """
    _check_choice(how, variance_weight, has_weights=weights is not None)
    _check_factors(factors)
    wide = factors.detach().to(torch.float64)
    shares = _shares(weights, wide.shape[0])
    if how == "max":
        result = wide.amax(dim=0)
    elif how == "pooled":
        result = _mean(wide, shares).sqrt()
    else:
        result = _mean(wide, shares)
        if how == "variance":
            result = result + variance_weight * _mean((wide - result).square(), shares)
    narrow = result.to(torch.float32)
    if not bool(torch.isfinite(narrow).all()):
        raise StatisticsError("an aggregated factor is beyond float32", feature=int((~narrow.isfinite()).nonzero()[0]))
    return narrow


def _mean(values: Tensor, shares: list[float]) -> Tensor:
    """[in] float64 sum of shares times rows, row after row."""
    total = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
    for row, share in zip(values, shares, strict=True):
        total += row * share
    return total


def _shares(weights: Tensor | None, n_sets: int) -> list[float]:
    """Weights that sum to 1."""
    given = [1.0] * n_sets if weights is None else [float(weight) for weight in weights.flatten().tolist()]
    if weights is not None and weights.shape != (n_sets,):
        raise ShapeError("weights do not fit the sets", expected=(n_sets,), got=tuple(weights.shape))
    if not all(math.isfinite(weight) and weight >= 0 for weight in given) or not any(given):
        raise BadInputError("weights of sets are no shares", expected="finite, >= 0, not all 0", got=given)
    total = math.fsum(given)
    return [weight / total for weight in given]


def _check_choice(how: str, variance_weight: float, *, has_weights: bool) -> None:
    if how not in get_args(AggregationName):
        raise BadInputError("no such aggregation", expected=" ".join(get_args(AggregationName)), got=how)
    if how == "max" and has_weights:
        raise BadInputError("aggregation max takes no weights", expected="weights left out")
    if not (math.isfinite(variance_weight) and variance_weight >= 0):
        raise BadInputError("the weight of the variance is out of range", expected=">= 0", got=variance_weight)


def _check_factors(factors: Tensor) -> None:
    if factors.ndim != 2:
        raise ShapeError("factors of sets are not a matrix", expected="[sets, in]", got=tuple(factors.shape))
    if factors.shape[0] == 0:
        raise StatisticsError("there are no sets to aggregate")
    wrong = ~(torch.isfinite(factors) & (factors >= 0))
    if bool(wrong.any()):
        which, feature = wrong.nonzero()[0].tolist()
        value = float(factors[which, feature])
        raise StatisticsError("a factor is negative or not finite", set=which, feature=feature, got=value)
