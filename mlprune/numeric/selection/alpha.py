"""Numbers of weights that Wanda's alpha variant removes from each row.

A row loses its lowest scores, as many as sum to at most a share alpha of the row's sum. All rows of a matrix have one
alpha, which is searched for the given sparsity.
"""

from collections.abc import Sequence

import numpy as np

from mlprune.errors import StatisticsError
from mlprune.numeric.selection.sortable_bits import Array, check_finite, check_matrix, compiled, row_chunks
from mlprune.processes.parallel import parallel_map

_TOLERANCE = 0.001
_MOST_HALVINGS = 60
_WEIGHTS_PER_CHUNK = 2**19


def alpha_counts(scores: Array, sparsities: Sequence[float], *, highest: bool = False) -> Array:
    """Count the weights that each sparsity removes from each row: the most whose scores sum to at most alpha * row sum.

    Wanda's alpha variant (Sun et al. 2024, arXiv:2306.11695). The search bisects [0, 1] until the matrix is within
    0.001 of the sparsity, at most 60 times, and takes the nearest alpha it has seen, the first of equally near ones.
    (The published code searches [0, 0.8] in steps of at least 0.001.) Scores of 0 are removed at any alpha, so a matrix
    with many of them can become sparser than requested. Sparsity 0 removes nothing. Counts ascend with the sparsities
    even if two sparsities are closer than the tolerance. Sums are float64, in ascending order of the scores (descending
    if the highest are removed); the sum of a row is the last of them.

    Args:
        scores: [rows, d], float32, finite, >= 0.
        sparsities: ascending, each in [0, 1).
        highest: add the scores from the highest downwards instead.
    Returns: [rows, n], int64.
    Raises:
        ShapeError: `scores` is not a float32 matrix.
        StatisticsError: a score is not finite or is negative.
    """
    check_matrix(scores)
    sums = _cumulative_sums(scores, highest=highest)
    counts = np.zeros((len(scores), len(sparsities)), dtype=np.int64)
    for index, sparsity in enumerate(sparsities):
        if sparsity > 0 and sums.size:
            counts[:, index] = _counts_near(sums, sparsity)
    return np.maximum.accumulate(counts, axis=1)


def _cumulative_sums(scores: Array, *, highest: bool) -> Array:
    """Return the sums over the 1, 2, ... lowest (or highest) scores of each row, [rows, d] float64."""
    sums = np.empty(scores.shape, dtype=np.float64)

    def fill(rows: slice) -> tuple[np.float32, np.float32]:
        ordered = np.sort(scores[rows], axis=1)
        np.cumsum(ordered[:, ::-1] if highest else ordered, axis=1, dtype=np.float64, out=sums[rows])
        return ordered[:, 0].min(), np.abs(ordered[:, -1]).max()

    extremes = list(parallel_map(fill, row_chunks(scores, _WEIGHTS_PER_CHUNK)))
    if extremes:
        least, greatest = np.array(extremes, dtype=np.float32).T
        check_finite(scores, np.abs(np.append(least, greatest)).view(np.uint32).max())
        if least.min() < 0:
            raise StatisticsError("a score is negative", expected=">= 0", got=float(least.min()))
    return sums


def _counts_near(sums: Array, sparsity: float) -> Array:
    """Return the counts of the alpha nearest to the sparsity, [rows]; stops at the first within the tolerance."""
    low, high = 0.0, 1.0
    nearest, nearest_distance = np.zeros(len(sums), np.int64), np.inf
    for _ in range(_MOST_HALVINGS):
        alpha = (low + high) / 2
        counts = np.empty(len(sums), np.int64)
        _count_within(sums, alpha, counts)
        achieved = int(counts.sum()) / sums.size
        if abs(achieved - sparsity) < nearest_distance:
            nearest, nearest_distance = counts, abs(achieved - sparsity)
        if nearest_distance <= _TOLERANCE:
            break
        low, high = (alpha, high) if achieved < sparsity else (low, alpha)
    return nearest


@compiled
def _count_within(sums: Array, alpha: float, counts: Array) -> None:
    """Count, for each row, its ascending sums that are at most alpha times the last."""
    for row in range(len(sums)):
        counts[row] = np.searchsorted(sums[row], alpha * sums[row, -1], side="right")
