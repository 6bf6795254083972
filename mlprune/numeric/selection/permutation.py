"""Channel permutation before N:M: an order of the inputs of a layer whose groups keep a higher sum of scores.

Zhang et al., Plug-and-Play, ICLR 2024. New groups of M inputs are formed, so that inputs with high scores do not
compete in one group. A mask is N:M in the found order; mapped back, it removes N of M scattered inputs of a row.

Differences to the published code (biomedical-cybernetics/Relative-importance-and-activation-pruning): sums are float64;
the result is compared with the given order, which is kept unless the other one is better; the assignment is never split
into parts of the columns (there: an option); its matrix leaves out a constant per group, which changes no optimum.
"""

import numpy as np
from scipy import optimize
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.sortable_bits import Array, check_matrix, compiled, row_chunks
from mlprune.processes.parallel import parallel_map

_GROUPS_TOGETHER = 8
"""Groups whose gains are added at a time, so that a row of columns is read once for all of them."""
_WEIGHTS_PER_CHUNK = 2**20
"""Scores that are sorted within groups at a time."""


def column_order(scores: Tensor, n: int, m: int) -> Array:
    """Find an order of the inputs whose groups of m keep a high sum of scores if the n lowest of a group are removed.

    1. Inputs are sorted by the sum of their scores over all outputs, ascending; of equal sums, the lower index first.
    2. They are dealt in a snake: the first in / m inputs to position 0 of the groups 0, 1, ..., the next to position 1
       of the groups ..., 1, 0, and so on.
    3. For each position in turn, its inputs are assigned to the groups again, so that the kept sum is highest
       (scipy's `linear_sum_assignment`).
    4. If the kept sum is not above that of the given order, the given order is the result.

    So no result keeps a lower sum than the given order; the best of all orders is not guaranteed.

    Args:
        scores: [out, in], float32, finite, on the CPU.
        n: weights removed in each group, 0 < n < m.
        m: size of a group.
    Returns: [in] int64; entry k is the input at place k.
    Raises:
        ShapeError: `scores` is not a float32 matrix, or m does not divide `in`.
        BadInputError: n and m are not a pattern.
    """
    array = scores.detach().numpy()
    check_matrix(array)
    if not 0 < n < m:
        raise BadInputError("not an N:M pattern", expected="0 < n < m", got=f"{n}:{m}")
    d_in = array.shape[1]
    if d_in % m:
        raise ShapeError("a row does not divide into groups", expected=f"a multiple of {m}", got=d_in)
    places = _dealt(array, m)
    for position in range(m):
        places[:, position] = places[_assignment(array, places, position, n), position]
    order, given = places.reshape(-1), np.arange(d_in)
    return order if kept_sum(array, order, n=n, m=m) > kept_sum(array, given, n=n, m=m) else given


def kept_sum(scores: Array, order: Array, *, n: int, m: int) -> float:
    """Return the sum of the scores that N:M keeps in an order of the inputs, in float64.

    Args:
        scores: [out, in] float32.
        order: [in], a permutation of the inputs.
    """
    total = 0.0
    for rows in row_chunks(scores, _WEIGHTS_PER_CHUNK):
        groups = np.sort(scores[rows][:, order].reshape(-1, m), axis=1)
        total += float(groups[:, n:].sum(dtype=np.float64))
    return total


def _dealt(scores: Array, m: int) -> Array:
    """Return the inputs sorted by their sums and dealt in a snake, [groups, m]."""
    by_sum = np.argsort(scores.sum(axis=0, dtype=np.float64), kind="stable").reshape(m, -1)
    by_sum[1::2] = by_sum[1::2, ::-1].copy()
    return np.ascontiguousarray(by_sum.T)


def _assignment(scores: Array, places: Array, position: int, n: int) -> Array:
    """Return, for each group, the group whose input at a position it gets, so that the kept sum is highest.

    A group of others with n-th lowest score t keeps the sum of those above it, and the higher of t and the score of
    the input that joins them. The first part does not depend on the input.
    """
    n_groups, m = places.shape
    others = np.delete(places, position, axis=1)
    thresholds = np.empty((len(scores), n_groups), dtype=np.float32)
    for rows in row_chunks(scores, _WEIGHTS_PER_CHUNK):
        groups = scores[rows][:, others.reshape(-1)].reshape(-1, n_groups, m - 1)
        thresholds[rows] = np.sort(groups, axis=2)[:, :, n - 1]
    joining = np.ascontiguousarray(scores[:, places[:, position]])
    gains = np.zeros((n_groups, n_groups))

    def fill(start: int) -> None:
        chosen = slice(start, start + _GROUPS_TOGETHER)
        _add_gains(joining, np.ascontiguousarray(thresholds[:, chosen]), gains[chosen])

    for _ in parallel_map(fill, range(0, n_groups, _GROUPS_TOGETHER)):
        pass
    found: Array = optimize.linear_sum_assignment(gains, maximize=True)[1]
    return found


@compiled
def _add_gains(joining: Array, thresholds: Array, gains: Array) -> None:
    """Add to [groups, n] the sum over rows of the higher of a threshold, [rows, groups], and a score, [rows, n]."""
    for row in range(joining.shape[0]):
        for group in range(thresholds.shape[1]):
            threshold = thresholds[row, group]
            for column in range(joining.shape[1]):
                score = joining[row, column]
                gains[group, column] += score if score > threshold else threshold
