"""Typical scores of blocks and the sparsities of DLP (Chen et al., Dynamic Layerwise Pruning, arXiv:2505.23807).

A block with higher scores is pruned more: the paper takes scores as unimportance, because the norms of features, and
with them the scores, grow with depth.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.methods import StatisticName
from mlprune.numeric.activations.outlier_ratios import checked_sums
from mlprune.numeric.allocation.shifted import shifted_sparsities


def block_score(scores: Iterable[Tensor], statistic: StatisticName = "mean") -> float:
    """Return the mean or the median of a block's scores, all layers pooled.

    The mean adds in float64. The median is the lower one of an even number of scores, as `torch.median` gives it.

    Args:
        scores: [out, in] of every layer of a block, float, >= 0, from `wanda_scores`.
        statistic: `mean` is what the published code computes for unstructured pruning. `median` is what the paper
            describes; the published code has it for N:M alone.
    Returns: >= 0.
    Raises:
        StatisticsError: `scores` is empty, or one is negative or not finite.
    """
    layers = tuple(scores)
    n_scores = sum(layer.numel() for layer in layers)
    if n_scores == 0:
        raise StatisticsError("a block has no scores")
    total = math.fsum(checked_sums(layers))
    if statistic == "mean":
        return total / n_scores
    return float(torch.cat([layer.detach().reshape(-1).to(torch.float32) for layer in layers]).median())


def dlp_sparsities(
    scores: Sequence[float], sparsity: float, *, spread: float = 0.15, n_weights: Sequence[int]
) -> tuple[float, ...]:
    """Return the sparsity of every block, higher for blocks with higher scores.

    r_b = 1 - score_b / sum of scores,  g_b = 2 * spread * (r_b - min r) / (max r - min r)
    sparsity_b = sparsity - (g_b - mean of g)

    This is `shifted_sparsities` of the negated scores, because r is a decreasing linear function of the score. Its mean
    is weighted by the blocks' numbers of weights, and all shifts become smaller where a block would leave [0, 0.999];
    the published code has the unweighted mean and clips nothing. With blocks of equal size the weighted mean is the
    unweighted one.

    Args:
        scores: of every block, finite, from `block_score`.
        sparsity: of all blocks together, in [0, 1).
        spread: alpha of the paper, in (0, 0.5).
        n_weights: of every block.
    Raises:
        StatisticsError: `scores` is empty, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    return shifted_sparsities([-score for score in scores], sparsity, spread=spread, n_weights=n_weights)
