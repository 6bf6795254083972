"""Compiled search for the swaps of rows: remove one kept weight of a row and restore one that is removed.

All rows read the same Gram matrix, and every row is computed by itself, so results do not depend on the other rows or
on the number of threads.
"""

import numpy as np

from mlprune.numeric.selection.sortable_bits import Array, compiled

_TOLERANCE = 1e-12
"""A swap has to lower the error by more than this share of the terms that it is computed from."""


@compiled
def swap_in_rows(
    state: tuple[Array, Array, Array], products: Array, limits: tuple[int, int, int], n_swaps: Array
) -> None:
    """Swap weights of some rows as long as the error falls; `n_swaps` and the last two of `state` are changed in place.

    Args:
        state: weights, float64; whether each is removed, bool; and G r, float64, where r is the row with only its
            removed weights. [rows, d] each.
        products: [d, d], float64: G.
        limits: (most swaps of a row, length of a shortlist, inputs of a group).
        n_swaps: [rows], int32: gets the number of swaps.
    """
    weights, removed, gradients = state
    most, n_listed, group = limits
    d = weights.shape[1]
    diagonal = np.empty(d)
    for j in range(d):
        diagonal[j] = products[j, j]
    costs = np.empty((2, d))
    listed = np.empty((2, min(n_listed, d)), np.int64)
    for row in range(len(weights)):
        w, gone, gradient = weights[row], removed[row], gradients[row]
        error = 0.0
        for j in range(d):
            if gone[j]:
                error += w[j] * gradient[j]
        while n_swaps[row] < most:
            _fill_costs(w, gone, gradient, diagonal, costs)
            if group < d:
                change, p, u = _best_in_groups(w, costs, products, group)
            else:
                change, p, u = _best_in_row(w, costs, products, listed)
            if p < 0 or change >= -_TOLERANCE * (error + w[p] * w[p] * diagonal[p] + w[u] * w[u] * diagonal[u]):
                break
            gone[p], gone[u] = True, False
            for j in range(d):
                gradient[j] += w[p] * products[p, j] - w[u] * products[u, j]
            n_swaps[row] += 1


@compiled
def _fill_costs(w: Array, gone: Array, gradient: Array, diagonal: Array, costs: Array) -> None:
    """Fill the change of the error by removing each kept weight, and by restoring each removed one; else infinity."""
    for j in range(w.size):
        square = w[j] * w[j] * diagonal[j]
        costs[0, j] = np.inf if gone[j] else square + 2 * w[j] * gradient[j]
        costs[1, j] = square - 2 * w[j] * gradient[j] if gone[j] else np.inf


@compiled
def _best_in_groups(w: Array, costs: Array, products: Array, group: int) -> tuple[float, int, int]:
    """Return the change of the best swap inside a group, and the weights to remove and to restore; -1 if none."""
    best, best_p, best_u = np.inf, -1, -1
    for start in range(0, w.size, group):
        for p in range(start, start + group):
            if costs[0, p] == np.inf:
                continue
            for u in range(start, start + group):
                change = costs[0, p] + costs[1, u] - 2 * w[p] * w[u] * products[p, u]
                if change < best:
                    best, best_p, best_u = change, p, u
    return best, best_p, best_u


@compiled
def _best_in_row(w: Array, costs: Array, products: Array, listed: Array) -> tuple[float, int, int]:
    """Return the best swap that removes or restores a weight of a shortlist, as `_best_in_groups` does.

    The shortlists have the lowest costs. Each of their weights is combined with all others of the row.
    """
    best, best_p, best_u = np.inf, -1, -1
    for direction in range(2):
        n_listed = _shortest(costs[direction], listed[direction])
        for k in range(n_listed):
            i = listed[direction, k]
            change, j = _best_partner(costs[direction, i], w[i], w, costs[1 - direction], products[i])
            if change < best:
                best, best_p, best_u = (change, i, j) if direction == 0 else (change, j, i)
        if n_listed < listed.shape[1]:
            break
    return best, best_p, best_u


@compiled
def _best_partner(cost: float, w_i: float, w: Array, costs: Array, products: Array) -> tuple[float, int]:
    """Return the lowest change of a swap of one weight with any other, and the other weight."""
    best, best_j = np.inf, -1
    factor = 2 * w_i
    for j in range(w.size):
        change = costs[j] - factor * w[j] * products[j]
        if change < best:
            best, best_j = change, j
    return best + cost, best_j


@compiled
def _shortest(costs: Array, listed: Array) -> int:
    """Fill in the positions of the lowest finite costs in ascending order, and return their number.

    Of equal costs, the lower position is first.
    """
    n = 0
    worst = np.inf
    for j in range(costs.size):
        cost = costs[j]
        if cost >= worst or cost == np.inf:
            continue
        k = n if n < listed.size else n - 1
        while k > 0 and costs[listed[k - 1]] > cost:
            listed[k] = listed[k - 1]
            k -= 1
        listed[k] = j
        n = min(n + 1, listed.size)
        if n == listed.size:
            worst = costs[listed[n - 1]]
    return n
