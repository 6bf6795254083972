"""Compiled swaps of DSnoT: they move the expected change of a row's output towards zero."""

import numpy as np

from mlprune.numeric.selection.sortable_bits import Array, compiled


@compiled
def swap_by_influence(
    weights: Array,
    removed: Array,
    moments: tuple[Array, Array, Array],
    limits: tuple[int, int, float],
    n_swaps: Array,
) -> None:
    """Swap weights of some rows as `dsnot` describes; `removed` and `n_swaps` are changed in place.

    Args:
        weights: [rows, d], float64.
        removed: [rows, d], bool.
        moments: (mean over demonstrations of the sum of each feature, its norm, its variance), [d] float64 each.
        limits: (most swaps of a row, inputs of a group, threshold of the change).
        n_swaps: [rows], int32: gets the number of swaps.
    """
    most, group, threshold = limits
    d = weights.shape[1]
    influences, orders, scores = np.empty(d), np.empty(d), np.empty(d)
    for row in range(len(weights)):
        w, gone = weights[row], removed[row]
        change = _fill_candidates(w, gone, moments, (influences, orders, scores))
        starts_positive = change > 0
        while n_swaps[row] < most and abs(change) > threshold:
            sign = 1.0 if change > 0 else -1.0
            restored = _largest(orders, sign)
            if restored < 0:
                break
            start = restored - restored % group
            pruned = _lowest(scores[start : start + group], influences[start : start + group], sign, group == d)
            if group < d and pruned < 0:
                orders[restored] = 0.0
                continue
            if pruned < 0:
                break
            pruned += start
            after = change + influences[pruned] - influences[restored]
            if group < d and (after == 0 or (after > 0) != starts_positive):
                break
            change = after
            gone[pruned], gone[restored] = True, False
            scores[pruned], orders[restored] = np.inf, 0.0
            n_swaps[row] += 1


@compiled
def _fill_candidates(
    w: Array, gone: Array, moments: tuple[Array, Array, Array], candidates: tuple[Array, Array, Array]
) -> float:
    """Fill in the influence of each weight, the order of removed and the score of kept ones; return the change."""
    means, norms, variances = moments
    influences, orders, scores = candidates
    change = 0.0
    for j in range(w.size):
        influences[j] = w[j] * means[j]
        scores[j] = np.inf if gone[j] else abs(w[j]) * norms[j]
        orders[j] = 0.0
        if gone[j]:
            change += influences[j]
            if influences[j] != 0:
                orders[j] = influences[j] / variances[j] if variances[j] > 0 else np.sign(influences[j]) * np.inf
    return change


@compiled
def _largest(orders: Array, sign: float) -> int:
    """Return the position of the order that is largest in the direction of the sign; -1 if all have the other one."""
    largest, at = 0.0, -1
    for j in range(orders.size):
        if sign * orders[j] > largest:
            largest, at = sign * orders[j], j
    return at


@compiled
def _lowest(scores: Array, influences: Array, sign: float, is_cancelling: bool) -> int:
    """Return the position of the lowest finite score, on request only of weights whose influence has the other sign."""
    lowest, at = np.inf, -1
    for j in range(scores.size):
        if scores[j] < lowest and (not is_cancelling or sign * influences[j] < 0):
            lowest, at = scores[j], j
    return at
