"""Multiple comparisons: Holm's method, and Friedman's test of methods.

Average ranks of methods over data sets, with Friedman's test in the form of Iman and Davenport.

Demšar (Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006, section 3.2.2). The test assumes
independent data sets. Languages of one task are not independent, so ranks over languages only describe.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlprune.errors import PermanentError, ShapeError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust a family of p-values by Holm's step-down method: the family-wise error rate stays at the level.

    With p sorted ascending, adjusted_(i) = min(1, max over k <= i of (m - k) * p_(k)), k from 0. Equal p-values get
    equal adjusted values.

    Args:
        p_values: the family, in any order.
    Returns: adjusted p-values in the order of `p_values`.
    Raises:
        PermanentError: a value is not in [0, 1].
    """
    family = np.asarray(p_values, dtype=np.float64)
    wrong = ~((family >= 0) & (family <= 1))
    if wrong.any():
        raise PermanentError("not a p-value", index=int(np.argmax(wrong)), got=float(family[np.argmax(wrong)]))
    order = np.argsort(family, kind="stable")
    stepped = np.maximum.accumulate(family[order] * np.arange(family.size, 0, -1))
    adjusted = np.empty_like(family)
    adjusted[order] = np.minimum(1.0, stepped)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Friedman:
    """Result of a Friedman test of the hypothesis that all methods are equally good."""

    average_ranks: NDArray[np.float64]
    """[methods], 1 is best on every data set."""
    statistic: float
    """Friedman's chi-square, corrected for ties."""
    iman_davenport: float
    """F statistic of Iman and Davenport; inf if all data sets rank the methods equally."""
    p_value: float
    """Of the F statistic; never 0."""


def average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each method on each data set, 1 for the highest value; equal values share their mean rank.

    Args:
        values: [data sets, methods], higher is better.
    Returns: [data sets, methods].
    Raises:
        ShapeError: the values are not a matrix, or empty.
        PermanentError: a value is not a number.
    """
    if values.ndim != 2 or values.size == 0:
        raise ShapeError("values are not a matrix", expected="[data sets, methods]", got=values.shape)
    if np.isnan(values).any():
        raise PermanentError("a value is not a number", n_wrong=int(np.isnan(values).sum()))
    return ranks_with_ties(-values) + 1


def ranks_with_ties(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks along the last axis, from 0 for the lowest; equal values have the mean of their ranks."""
    n = values.shape[-1]
    order = np.argsort(values, axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    is_new = np.ones(values.shape, dtype=np.bool_)
    is_new[..., 1:] = ascending[..., 1:] != ascending[..., :-1]
    is_last = np.ones(values.shape, dtype=np.bool_)
    is_last[..., :-1] = is_new[..., 1:]
    places = np.arange(n)
    first = np.maximum.accumulate(np.where(is_new, places, 0), axis=-1)
    last = np.minimum.accumulate(np.where(is_last, places, n)[..., ::-1], axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=-1)
    return ranks


def friedman(values: NDArray[np.float64]) -> Friedman:
    """Apply Friedman's test, corrected by Iman and Davenport, to values of several methods on the same data sets.

    chi2 = (12 / (n k (k+1)) * sum_j (sum_i r_ij)^2 - 3 n (k+1)) / (1 - sum of (t^3 - t) / (n (k^3 - k)))
    F    = (n - 1) chi2 / (n (k - 1) - chi2)        with k - 1 and (k - 1)(n - 1) degrees of freedom

    with n data sets, k methods, ranks r, and t the sizes of groups of equal values within a data set. Both statistics
    are 0 and p is 1 if all methods tie on every data set. If all data sets rank the methods equally, F is infinite and
    p is the probability of this under random ranks: (number of different orders of the ranks)^(1 - n).

    Args:
        values: [n, k], higher is better, n and k >= 2.
    Raises:
        ShapeError: the values are not a matrix, or there are fewer than two methods or data sets.
        PermanentError: a value is not a number.
    """
    ranks = average_ranks(values)
    n, k = ranks.shape
    if n < 2 or k < 2:
        raise ShapeError(
            "too few methods or data sets to rank", expected="two methods on two data sets", got=f"{k} on {n}"
        )
    ties = sum(int((np.unique(row, return_counts=True)[1] ** 3).sum()) - k for row in ranks)
    correction = 1 - ties / (n * (k**3 - k))
    spread = 12 / (n * k * (k + 1)) * float((ranks.sum(axis=0) ** 2).sum()) - 3 * n * (k + 1)
    statistic = max(0.0, spread / correction) if correction > 0 else 0.0
    return Friedman(ranks.mean(axis=0), statistic, *_iman_davenport(ranks, statistic))


def _iman_davenport(ranks: NDArray[np.float64], statistic: float) -> tuple[float, float]:
    """Return F and its p-value for [n, k] ranks and Friedman's chi-square."""
    n, k = ranks.shape
    if statistic > 0 and (ranks == ranks[0]).all():
        sizes = np.unique(ranks[0], return_counts=True)[1]
        log_orders = math.lgamma(k + 1) - sum(math.lgamma(size + 1) for size in sizes.tolist())
        return math.inf, max(math.exp((1 - n) * log_orders), math.ulp(0.0))
    value = (n - 1) * statistic / (n * (k - 1) - statistic)
    p_value = float(special.fdtrc(k - 1, (k - 1) * (n - 1), value))
    return value, max(p_value, math.ulp(0.0))
