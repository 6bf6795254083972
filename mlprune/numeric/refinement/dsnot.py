"""DSnoT: exchange weights of a row until the expected change of its output is near zero.

Dynamic Sparse no Training (Zhang et al., arXiv:2310.08915). The influence of a weight is D_ij = W_ij times the mean
over demonstrations of the sum over tokens of x_j; the change of row i is the sum of D_ij over its removed weights. A
swap restores the removed weight with the largest D_ij / Var_j that has the sign of the change, and removes the kept
weight with the lowest Wanda score |W_ij| ||X_j||_2 whose D_ij has the other sign; the change then loses D of the
restored and gains D of the removed weight. A row ends if its change is at most a threshold, or after a number of swaps.
A weight is swapped once at most. With N:M, the removed weight is the one with the lowest score in the group of the
restored one, whatever its sign, and a row ends before a swap that would turn the sign of its first change.

Differences to the published code: all layers are refined (there: by default not those of the feed-forward network); the
scores of N:M are Wanda's whatever the start (there: those of the start); Var_j is the mean over demonstrations of their
variances (there: weighted by their tokens, which are equally many); a row whose candidates are used up ends, and a
group without a candidate is left out (there: the number of weights can change); a feature without variance comes first
(there: a division by zero); of equal candidates the lower column is first; everything is float64 (there: float32).
"""

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.refinement.refined_layer import RefinedLayer, check_mask, group_size
from mlprune.numeric.sortable_bits import Array, compiled, row_chunks
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**17


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


def dsnot(
    weight: Tensor,
    keep: Tensor,
    *,
    moments: FeatureMoments,
    structure: str = "row",
    swaps: int = 50,
    threshold: float = 0.1,
) -> RefinedLayer:
    """Refine a mask by the means and variances of the inputs. The tensors are copied to the CPU from an accelerator.

    Args:
        weight: [out, in], any float dtype.
        keep: [out, in], bool: the mask to start from.
        moments: of the inputs.
        structure: `row`, `matrix`, `alpha` or `N:M`.
        swaps: most swaps of a row, >= 1.
        threshold: change of a row that is small, >= 0, in units of the output summed over the tokens of a
            demonstration.
    Returns: the mask, on the device of `keep`, and the swaps of each row. Every row, or group of N:M, keeps as many
        weights as before. The squared error of the output may rise.
    Raises:
        ShapeError: the tensors do not fit together, or M does not divide `in`.
        StatisticsError: a weight or a moment is not finite, a square or a variance negative, or there are no
            demonstrations.
        BadInputError: an option is out of range, or the structure is unknown.
    """
    if swaps < 1 or not threshold >= 0:
        got = f"swaps {swaps}, threshold {threshold}"
        raise BadInputError("an option of dsnot is out of range", expected="swaps >= 1, threshold >= 0", got=got)
    check_mask(weight, keep)
    limits = (swaps, group_size(structure, weight.shape[1]), float(threshold))
    features = _features(weight, moments)
    removed = ~keep.cpu().contiguous()
    n_swaps = torch.zeros(len(keep), dtype=torch.int32)

    def swap(rows: slice) -> None:
        weights = weight[rows].detach().to(device="cpu", dtype=torch.float64, memory_format=torch.contiguous_format)
        swap_by_influence(weights.numpy(), removed[rows].numpy(), features, limits, n_swaps[rows].numpy())

    list(parallel_map(swap, row_chunks(removed.numpy(), _WEIGHTS_PER_CHUNK)))
    return RefinedLayer(keep=removed.logical_not_().to(keep.device), n_swaps=n_swaps)


def _features(weight: Tensor, moments: FeatureMoments) -> tuple[Array, Array, Array]:
    """Return the mean sum, the norm and the variance of each feature, float64."""
    if not moments.n_demonstrations > 0:
        raise StatisticsError("dsnot needs demonstrations", got=moments.n_demonstrations)
    for name, values in (
        ("sums", moments.sums),
        ("squares", moments.squares),
        ("within_variances", moments.within_variances),
    ):
        if values.shape != weight.shape[1:]:
            expected, got = tuple(weight.shape[1:]), tuple(values.shape)
            raise ShapeError("moments do not fit the weight", moment=name, expected=expected, got=got)
        if not bool(torch.isfinite(values).all()) or (name != "sums" and bool((values < 0).any())):
            raise StatisticsError("a moment of a feature is impossible", moment=name)
    sums, squares, variances = (
        values.detach().to(device="cpu", dtype=torch.float64)
        for values in (moments.sums, moments.squares, moments.within_variances)
    )
    return (sums / moments.n_demonstrations).numpy(), squares.sqrt().numpy(), variances.contiguous().numpy()
