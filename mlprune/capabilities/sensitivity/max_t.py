"""Max-T: the correction of a family of sign-flip tests for its size."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import BLOCK_ROWS, exact_products, exactly_summable
from mlprune.numeric.statistics.sign_flips import check_flips
from mlprune.numeric.statistics.subset_sums import TOLERANCE


def max_t_p_values(contributions: Array, sizes: Array, flips: NDArray[np.int8]) -> Array:
    """Adjust the sign-flip tests of a family for its size by step-down max-T        (Westfall and Young, 1993, 2.8).

    t_v(s) = |sum_c s_c * d_cv| / sqrt(sum_c d_cv^2)

    The denominator does not change under sign flips. With the hypotheses sorted by descending t_v(1) (ties: lower index
    first), p_(i) = max over j <= i of mean over s of w, where w compares max over k >= j of t_(k)(s) with t_(j)(1): 1
    if it is larger and for the observed signs, 1/2 if the two are equal, 0 otherwise. A family of one has the p-value
    of `sign_flip_test`. A variant whose estimate is 0 has p = 1.

    Memory: blocks of 256 sign vectors. The result does not depend on the number of threads.

    Args:
        contributions: d, [C, V], the same clusters for all variants.
        sizes: m, [C]; the statistic does not depend on them, clusters of size 0 must contribute 0.
        flips: [K, C] of `sign_flips`.
    Returns: [V], in the order of the variants, at least 1 / K.
    Raises:
        ShapeError: contributions, sizes and flips do not fit.
        PermanentError: a value is not finite.
    """
    check_flips(contributions, flips)
    if sizes.shape != contributions.shape[:1]:
        raise ShapeError("sizes do not fit the contributions", expected=contributions.shape[:1], got=sizes.shape)
    if (contributions[sizes <= 0] != 0).any():
        raise PermanentError("a cluster of size 0 contributes")
    sums = exactly_summable(contributions, len(contributions))
    norms = np.sqrt((contributions**2).sum(axis=0))
    scale = np.where(norms > 0, norms, 1.0)
    observed = np.abs(sums.sum(axis=0)) / scale
    order = np.argsort(-observed, kind="stable")
    blocks = (np.abs(exact_products(block, sums[:, order])) / scale[order] for block in _blocks(flips))
    p_values = np.empty(len(order))
    tolerance = TOLERANCE * math.sqrt(len(sums))
    p_values[order] = step_down(observed[order], blocks, tolerance=tolerance)
    return np.where(observed > tolerance, p_values, 1.0)


def step_down(observed: Array, flipped: Iterator[Array], *, tolerance: float) -> Array:
    """Return max-T p-values of statistics in descending order, [V].

    Args:
        observed: [V], descending.
        flipped: blocks [rows, V] of the same statistics under sign vectors; the first row of the first is the observed.
        tolerance: statistics that differ by at most this are equal.
    """
    counts, n_rows = np.full(observed.shape, 0.5), 0
    for block in flipped:
        largest = np.maximum.accumulate(block[:, ::-1], axis=1)[:, ::-1]
        counts += (largest > observed + tolerance).sum(axis=0)
        counts += 0.5 * (np.abs(largest - observed) <= tolerance).sum(axis=0)
        n_rows += len(block)
    return np.maximum.accumulate(counts / n_rows)


def _blocks(flips: NDArray[np.int8]) -> Iterator[NDArray[np.int8]]:
    return (flips[start : start + BLOCK_ROWS] for start in range(0, len(flips), BLOCK_ROWS))
