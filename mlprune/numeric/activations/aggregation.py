"""Aggregation of the feature factors of several demonstration sets, and their bootstrap.

Aggregation: combine the feature factors of several demonstration sets, for example of several languages.

A score |W[i, j]| * factor_j is linear in the factor. The mean or maximum of the factors over sets therefore gives the
mean or maximum of the scores. A set's factor comes from its mean over demonstrations (`mean_squares`), so that sets of
different size have equal weight.
"""

import hashlib
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods import AGGREGATIONS, Parameters, VarianceParameters, checked_parameters

AggregationFunction = Callable[[Tensor, list[float], Parameters], Tensor]
"""Returns [in] float64 from [sets, in] float64 and the shares of the sets, which sum to 1."""


def aggregated(
    factors: Tensor, how: str, *, parameters: Parameters | None = None, weights: Tensor | None = None
) -> Tensor:
    """Combine the factors f[l, j] of L sets. The shares p[l] are the weights, scaled to sum to 1.

    mean:      m_j = sum over l of p[l] * f[l, j]
    max:       max over l of f[l, j]
    variance:  m_j + variance_weight * sum over l of p[l] * (f[l, j] - m_j) ** 2
    pooled:    sqrt(sum over l of p[l] * s[l, j]), where `factors` contains mean squares s[l, j] instead of f

    `variance` follows M-Wanda (Choenni & Titov, arXiv:2505.21171): features whose activation differs between languages
    get a higher factor than their mean. It is the population variance: divided by the sum of shares, not by L - 1. The
    other two parts of M-Wanda (a term for how often a feature is active, and sparsities that depend on the correlation
    of languages in a layer) are not implemented. Sums are float64, in the order of the sets.

    Args:
        factors: [L, in], float32 or wider, >= 0, L >= 1; for `pooled` the sets' mean squares.
        how: a name from the list above.
        parameters: of the aggregation; None: the defaults.
        weights: [L], >= 0, in any unit; None: equal. Refused for `max`.
    Returns: [in], float32, >= 0.
    Raises:
        ShapeError: `factors` is not a matrix, or `weights` is not one number per set.
        StatisticsError: no set is given, a value is negative or non-finite, or the result is beyond float32.
        BadInputError: `how` is unknown, `max` was given weights, the weights are negative, not finite or all 0,
            or the weight of the variance is negative or not finite.
    """
    _check_choice(how, has_weights=weights is not None)
    _check_factors(factors)
    wide = factors.detach().to(torch.float64)
    shares = _shares(weights, wide.shape[0])
    result = AGGREGATION_FUNCTIONS[how](wide, shares, parameters or AGGREGATIONS[how].parameters())
    narrow = result.to(torch.float32)
    if not bool(torch.isfinite(narrow).all()):
        raise StatisticsError("an aggregated factor is beyond float32", feature=int((~narrow.isfinite()).nonzero()[0]))
    return narrow


def _mean(values: Tensor, shares: list[float]) -> Tensor:
    """Return the sum of shares times rows, [in] float64, in the order of the rows."""
    total = torch.zeros(values.shape[1], dtype=torch.float64, device=values.device)
    for row, share in zip(values, shares, strict=True):
        total += row * share
    return total


def _shares(weights: Tensor | None, n_sets: int) -> list[float]:
    """Return weights that sum to 1."""
    given = [1.0] * n_sets if weights is None else [float(weight) for weight in weights.flatten().tolist()]
    if weights is not None and weights.shape != (n_sets,):
        raise ShapeError("weights do not fit the sets", expected=(n_sets,), got=tuple(weights.shape))
    if not all(math.isfinite(weight) and weight >= 0 for weight in given) or not any(given):
        raise BadInputError("weights of sets are not shares", expected="finite, >= 0, not all 0", got=given)
    total = math.fsum(given)
    return [weight / total for weight in given]


def _mean_and_variance(values: Tensor, shares: list[float], parameters: Parameters) -> Tensor:
    """Return the mean plus the weighted population variance, [in]."""
    weight = checked_parameters(parameters, VarianceParameters).variance_weight
    if not (math.isfinite(weight) and weight >= 0):
        raise BadInputError("the weight of the variance is out of range", expected=">= 0", got=weight)
    mean = _mean(values, shares)
    return mean + weight * _mean((values - mean).square(), shares)


AGGREGATION_FUNCTIONS: Mapping[str, AggregationFunction] = {
    "mean": lambda values, shares, _: _mean(values, shares),
    "max": lambda values, _shares, _: values.amax(dim=0),
    "variance": _mean_and_variance,
    "pooled": lambda values, shares, _: _mean(values, shares).sqrt(),
}


def _check_choice(how: str, *, has_weights: bool) -> None:
    if how not in AGGREGATIONS:
        raise BadInputError("no such aggregation", expected=" ".join(AGGREGATIONS), got=how)
    if how == "max" and has_weights:
        raise BadInputError("aggregation max takes no weights", expected="weights left out")


def _check_factors(factors: Tensor) -> None:
    if factors.ndim != 2:
        raise ShapeError("factors of sets are not a matrix", expected="[sets, in]", got=tuple(factors.shape))
    if factors.shape[0] == 0:
        raise StatisticsError("no sets to aggregate")
    wrong = ~(torch.isfinite(factors) & (factors >= 0))
    if bool(wrong.any()):
        which, feature = wrong.nonzero()[0].tolist()
        value = float(factors[which, feature])
        raise StatisticsError("a factor is negative or not finite", set=which, feature=feature, got=value)


def bootstrap_weights(n: int, seed: int) -> Tensor:
    """Return how often each of n demonstrations is drawn when n are drawn with replacement.

    Draw i is demonstration SHA-256("seed:i") mod n, with the digest as a big-endian number. The draws do not depend on
    platforms or library versions, and are equal for all sets of one size, so that such sets are resampled together.

    Args:
        n: number of demonstrations, >= 1.
        seed: any integer.
    Returns: [n], float64, whole numbers that sum to n.
    Raises:
        BadInputError: n is below 1.
    """
    if n < 1:
        raise BadInputError("there is nothing to resample", expected="n >= 1", got=n)
    counts = [0] * n
    for draw in range(n):
        counts[int.from_bytes(hashlib.sha256(f"{seed}:{draw}".encode()).digest(), "big") % n] += 1
    return torch.tensor(counts, dtype=torch.float64)
