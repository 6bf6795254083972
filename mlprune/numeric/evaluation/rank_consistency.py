"""Comparison of several methods over several data sets: average ranks, Friedman test, Nemenyi's critical difference.

Recommended by Demšar (Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from mlprune.errors import BadInputError, PermanentError, ShapeError


@dataclass(frozen=True)
class Friedman:
    """Result of a Friedman test of the hypothesis that all methods are equally good."""

    average_ranks: NDArray[np.float64]
    """[methods], 1 is best on every data set."""
    statistic: float
    """Chi-square with (number of methods - 1) degrees of freedom, corrected for ties."""
    p_value: float


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
    above = (values[:, None, :] > values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return np.asarray(above + (equal + 1) / 2, dtype=np.float64)


def friedman(values: NDArray[np.float64]) -> Friedman:
    """Apply Friedman's test to values of several methods on the same data sets.

    chi2 = (12 / (n k (k+1)) * sum_j (sum_i r_ij)^2 - 3 n (k+1)) / (1 - sum of (t^3 - t) / (n (k^3 - k)))

    with n data sets, k methods, ranks r, and t the sizes of groups of equal values within a data set. The statistic is
    0 if all methods tie on every data set.

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
    return Friedman(ranks.mean(axis=0), statistic, float(special.chdtrc(k - 1, statistic)))


def nemenyi_difference(n_methods: int, n_data_sets: int, *, alpha: float = 0.05) -> float:
    """Return the critical difference of average ranks: methods that are further apart differ at level alpha.

    CD = q_alpha * sqrt(k (k + 1) / (6 n))        (Demšar 2006, section 3.2.2)

    q_alpha is the upper quantile of the studentised range of k methods with infinite degrees of freedom, divided by
    sqrt(2). It accounts for all pairs of methods.

    Raises:
        BadInputError: there are fewer than two methods or no data set, or alpha is out of range.
    """
    if n_methods < 2 or n_data_sets < 1 or not 0 < alpha < 1:
        expected, got = "n_methods >= 2, n_data_sets >= 1, 0 < alpha < 1", (n_methods, n_data_sets, alpha)
        raise BadInputError("the critical difference is undefined", expected=expected, got=got)
    quantile = float(stats.studentized_range.isf(alpha, n_methods, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(n_methods * (n_methods + 1) / (6 * n_data_sets))
