"""Refiners that read the Gram matrix: swaps within a row, and least squares of kept weights.

Compiled search for the swaps of rows: remove one kept weight of a row and restore a removed one.

All rows read the same Gram matrix, and every row is computed by itself, so results do not depend on the other rows or
on the number of threads.

Gram swaps: exchange a removed weight of a row for a kept one as long as the error of the layer's output falls.

SparseSwaps (Zimmer et al., arXiv:2512.10922). With r the removed part of a row w, and G the Gram matrix of the inputs,
the squared error of the row's output is r^T G r. Removing the kept weight p and restoring the removed weight u changes
it by

    (2 w_p (G r)_p + w_p^2 G_pp) + (-2 w_u (G r)_u + w_u^2 G_uu) - 2 w_p w_u G_pu

The best swap of the row is taken, r and G r are updated in O(in), and the next one is searched. The algebra is our own;
the paper's algorithm is the same local search with exact best swaps on accelerators. Difference: only swaps that remove
or restore one of the weights of two shortlists are compared, see `gram_swaps`.

Least squares: new values for the kept weights of a row, so that its output changes least.

With P the removed and K the kept weights of a row w, and G the Gram matrix of the inputs, the squared error of the
output is (w - w') G (w - w')^T. It is least if the kept weights change by

    (G_KK + ridge mean(diag G) I)^-1 G_KP w_P

where the ridge keeps weights of rarely active features near their values; without it this is ordinary least squares,
as in the update of the optimal brain surgeon (Hassibi, Stork, Wolff, 1993) for a given mask. One Cholesky factorisation
of each row in float64; the published methods that solve the same problem for all rows at once use iterations.
"""

import math

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.refinement.refined_layer import RefinedLayer, check_mask, group_size, host_products
from mlprune.numeric.sortable_bits import Array, compiled, row_chunks
from mlprune.processes.parallel import parallel_map

_TOLERANCE = 1e-12
"""A swap has to lower the error by more than this share of the terms that it is computed from."""
_WEIGHTS_PER_CHUNK = 2**17
"""Approximate number of weights per piece of work: three float64 values of each are in memory."""
_FITTED_WEIGHTS_PER_CHUNK = 2**16
_MAX_DAMPINGS = 10


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


def gram_swaps(
    weight: Tensor, keep: Tensor, *, products: Tensor, structure: str = "row", swaps: int = 100, shortlist: int = 8
) -> RefinedLayer:
    """Refine a mask by swaps inside rows, or inside the groups of N:M.

    For each row, the `shortlist` kept weights that are cheapest to remove by themselves are combined with all removed
    weights, and the `shortlist` removed weights that lower the error most by themselves with all kept weights; the best
    of these swaps is made. If a shortlist has all kept or all removed weights of the row, this is the best swap of all.
    The groups of N:M always compare all. A row ends after `swaps` swaps, or if no swap lowers its error by more than
    1e-12 of the terms of the sum. Everything is float64. The tensors are copied to the CPU from an accelerator.

    Args:
        weight: [out, in], any float dtype.
        keep: [out, in], bool: the mask to start from.
        products: [in, in], any float dtype: G, symmetric.
        structure: `row`, `matrix`, `alpha` or `N:M`.
        swaps: most swaps of a row, >= 1.
        shortlist: >= 1.
    Returns: the mask, on the device of `keep`, and the swaps of each row. Every row, or group of N:M, keeps as many
        weights as before.
    Raises:
        ShapeError: the tensors do not fit together, or M does not divide `in`.
        StatisticsError: a weight or a product is not finite, or a sum of squares negative.
        BadInputError: an option is out of range, or the structure is unknown.
    """
    if swaps < 1 or shortlist < 1:
        got = f"swaps {swaps}, shortlist {shortlist}"
        raise BadInputError("an option of gram_swaps is out of range", expected="swaps >= 1, shortlist >= 1", got=got)
    check_mask(weight, keep)
    limits = (swaps, shortlist, group_size(structure, weight.shape[1]))
    gram = host_products(weight, products)
    removed = ~keep.cpu().contiguous()
    n_swaps = torch.zeros(len(keep), dtype=torch.int32)

    def swap(rows: slice) -> None:
        weights = weight[rows].detach().to(device="cpu", dtype=torch.float64, memory_format=torch.contiguous_format)
        gradients = (weights * removed[rows]) @ gram
        state = (weights.numpy(), removed[rows].numpy(), gradients.numpy())
        swap_in_rows(state, gram.numpy(), limits, n_swaps[rows].numpy())

    list(parallel_map(swap, row_chunks(removed.numpy(), _WEIGHTS_PER_CHUNK)))
    return RefinedLayer(keep=removed.logical_not_().to(keep.device), n_swaps=n_swaps)


def recovered_weights(weight: Tensor, keep: Tensor, *, products: Tensor, ridge: float = 0.01) -> Tensor:
    """Return the weights of a mask that change the layer's output least. Computed on the CPU.

    A row whose matrix is not positive definite gets a ridge 10 times larger, ten times at most.

    Args:
        weight: [out, in], any float dtype.
        keep: [out, in], bool.
        products: [in, in], any float dtype: G, symmetric.
        ridge: share of the mean diagonal of G, > 0.
    Returns: [out, in] float32, on the device of `weight`; exactly 0 where removed.
    Raises:
        ShapeError: the tensors do not fit together.
        StatisticsError: a weight or a product is not finite, a sum of squares negative, a matrix not positive definite
            with any ridge, or a new weight is beyond float32.
        BadInputError: `ridge` is out of range.
    """
    if not (math.isfinite(ridge) and ridge > 0):
        raise BadInputError("the ridge of least squares is out of range", expected="ridge > 0", got=ridge)
    check_mask(weight, keep)
    gram = host_products(weight, products)
    mean = float(gram.diagonal().mean()) if len(gram) else 0.0
    added = ridge * mean if mean > 0 else 1.0
    masks = keep.cpu()
    recovered = torch.zeros(weight.shape, dtype=torch.float32)

    @torch.inference_mode()
    def recover(rows: slice) -> None:
        weights = weight[rows].detach().to(device="cpu", dtype=torch.float64)
        slopes = (weights * ~masks[rows]) @ gram
        for row, (w, kept, slope) in enumerate(zip(weights, masks[rows], slopes, strict=True), start=rows.start):
            columns = kept.nonzero().flatten()
            change = _solved(gram[columns[:, None], columns], slope[columns], added)
            recovered[row, columns] = (w[columns] + change).to(torch.float32)

    list(parallel_map(recover, row_chunks(masks.numpy(), _FITTED_WEIGHTS_PER_CHUNK)))
    if not bool(torch.isfinite(recovered).all()):
        raise StatisticsError("a recovered weight is beyond float32")
    return recovered.to(weight.device)


def _solved(matrix: Tensor, slopes: Tensor, added: float) -> Tensor:
    """Return (matrix + added I)^-1 slopes, [k]; the matrix is overwritten."""
    diagonal = matrix.diagonal().clone()
    for n_dampings in range(_MAX_DAMPINGS + 1):
        matrix.diagonal().copy_(diagonal + added * 10**n_dampings)
        lower, failed_at = torch.linalg.cholesky_ex(matrix)
        if int(failed_at) == 0:
            return torch.cholesky_solve(slopes[:, None], lower)[:, 0]
    raise StatisticsError("a Gram matrix is not positive definite with any ridge", added=added * 10**_MAX_DAMPINGS)
