"""DSnoT: exchange removed weights of a row for kept ones until the expected change of its output is small.

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

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.numeric.refinement.checks import check_mask, group_size
from mlprune.numeric.refinement.influence_swaps import swap_by_influence
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.selection.sortable_bits import Array, row_chunks
from mlprune.numeric.weights.layer_inputs import FeatureMoments
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**17


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
