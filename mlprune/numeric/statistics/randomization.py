"""Approximate randomisation: swap the outputs of two systems for whole clusters (Noreen, 1989)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.statistics.clusters import Array, exact_products, exactly_summable
from mlprune.numeric.statistics.sign_flips import TOLERANCE

Value = Callable[[Array], Array]
"""Metric of sums of statistics: [..., k] to [...]."""


def swapped_values(first: Array, second: Array, value: Value, *, flips: NDArray[np.int8]) -> tuple[Array, Array]:
    """Return value(first) and value(second) after each swap of clusters, both [K, ...]; row 0 is observed.

    Sign -1 swaps the cluster: first_s = (F + S + sum_c s_c * (f_c - g_c)) / 2, with F and S the sums of both systems.

    Args:
        first: f, [C, k], sums of statistics of each cluster for the first system.
        second: g, [C, k], the same clusters for the second system.
        value: one or several metrics of sums.
        flips: [K, C] of `sign_flips`.
    Raises:
        ShapeError: the shapes do not fit.
        PermanentError: a statistic or the metric after a swap is not finite.
    """
    if first.shape != second.shape or first.ndim != 2 or flips.shape[1:] != first.shape[:1] or (flips[0] != 1).any():
        expected = "two of [C, k], sign vectors [K, C], the first all 1"
        raise ShapeError("swaps do not fit", expected=expected, got=(first.shape, second.shape, flips.shape))
    both = exactly_summable(np.concatenate([first, second]), 4 * len(first))
    ours, theirs = both[: len(first)], both[len(first) :]
    total, distances = both.sum(axis=0), exact_products(flips, ours - theirs)
    values = tuple(np.asarray(value((total + sign * distances) / 2), dtype=np.float64) for sign in (1, -1))
    n_wrong = sum(int((~np.isfinite(each)).sum()) for each in values)
    if n_wrong:
        raise PermanentError("a metric after swaps is not finite", n_wrong=n_wrong)
    return values[0], values[1]


def swapped_differences(first: Array, second: Array, value: Value, *, flips: NDArray[np.int8]) -> Array:
    """Return value(first) - value(second) after each swap of clusters, [K, ...]; see `swapped_values`."""
    ours, theirs = swapped_values(first, second, value, flips=flips)
    return ours - theirs


def swap_test(first: Array, second: Array, value: Value, flips: NDArray[np.int8]) -> float:
    """Return the two-sided p-value of value(first) - value(second), at least 1 / K; see `swap_p_value`.

    For a mean of credit it is the p-value of `sign_flip_test`. Args and Raises: as in `swapped_values`.
    """
    return swap_p_value(swapped_differences(first, second, value, flips=flips))


def swap_p_value(differences: Array) -> float:
    """Return the two-sided p-value of the first of [K] swapped differences.

    p = mean over swaps of w: 1 if the swapped difference is larger in absolute value and for the observed assignment,
    1/2 if the two are equal (they differ by at most 1e-9 of the largest one), 0 otherwise. It is 1 if the observed
    difference is 0.
    """
    distances = np.abs(differences)
    tolerance = TOLERANCE * float(distances.max())
    if distances[0] <= tolerance:
        return 1.0
    n_beyond = int((distances > distances[0] + tolerance).sum())
    n_equal = int((np.abs(distances - distances[0]) <= tolerance).sum())
    return (0.5 + n_beyond + 0.5 * n_equal) / distances.size
