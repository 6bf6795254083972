"""Outlier ratios and the sparsities of OWL (Yin et al., Outlier Weighed Layerwise Sparsity, arXiv:2310.05175).

A block with many outliers among its scores is pruned less than the other blocks.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.allocation.shifted import DECIMALS

_SCORES_TOGETHER = 2**14
"""Scores that are added at once: few enough that no library splits the sum over threads."""


def outlier_ratio(scores: Iterable[Tensor], m: float) -> float:
    """Return the share of a block's scores that are above m times their mean over the block.

    All layers of the block are pooled, as in the published code, so larger layers count more. That code uses percents,
    which makes no difference to the sparsities. Sums are float64.

    Args:
        scores: [out, in] of every layer of a block, float, >= 0, from `wanda_scores`.
        m: multiple of the mean above which a score is an outlier, > 0.
    Returns: a fraction in [0, 1]; 0 if all scores are 0.
    Raises:
        StatisticsError: `scores` is empty, or one is negative or not finite.
        BadInputError: m is not a positive number.
    """
    if not (math.isfinite(m) and m > 0):
        raise BadInputError("the outlier threshold is out of range", expected="m > 0", got=m)
    layers = tuple(scores)
    n_scores = sum(layer.numel() for layer in layers)
    if n_scores == 0:
        raise StatisticsError("a block has no scores")
    threshold = m * (math.fsum(checked_sums(layers)) / n_scores)
    return sum(int((chunk > threshold).sum()) for chunk in _chunks(layers)) / n_scores


def owl_sparsities(ratios: Sequence[float], sparsity: float, *, spread: float = 0.08) -> tuple[float, ...]:
    """Return the sparsity of every block, lower for blocks with more outliers.

    r_b = 2 * spread * (ratio_b - min) / (max - min),  sparsity_b = sparsity - (r_b - mean of r)

    The mean over blocks is `sparsity`. It equals the sparsity of the model if all blocks have the same size. If all
    ratios are equal, or `sparsity` is 0, every block gets `sparsity`; the published code divides by zero then. Results
    outside [0, 1) are clipped, which changes the mean; the published code does not clip. Results are rounded to 12
    decimals. With the same ratios, a higher `sparsity` never gives a block a lower one, so masks of one ordering nest.

    Args:
        ratios: of every block, finite, from `outlier_ratio` (or percents).
        sparsity: of all blocks together, in [0, 1).
        spread: in (0, 0.5). The lowest and the highest sparsity differ by twice the spread, before clipping.
    Returns: one sparsity per block, each in [0, 1).
    Raises:
        StatisticsError: `ratios` is empty, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    if not 0 < spread < 0.5:
        raise BadInputError("a spread of sparsities is out of range", expected="0 < spread < 0.5", got=spread)
    if not ratios or not all(math.isfinite(ratio) for ratio in ratios):
        raise StatisticsError("outlier ratios are missing or not finite", got=list(ratios))
    lowest, highest = min(ratios), max(ratios)
    if sparsity == 0 or lowest == highest:
        return (sparsity,) * len(ratios)
    scaled = [2 * spread * ((ratio - lowest) / (highest - lowest)) for ratio in ratios]
    mean = math.fsum(scaled) / len(scaled)
    return tuple(_in_range(round(sparsity - (shift - mean), DECIMALS)) for shift in scaled)


def _in_range(sparsity: float) -> float:
    """Return the nearest number in [0, 1)."""
    return min(max(sparsity, 0.0), math.nextafter(1.0, 0.0))


def checked_sums(layers: Iterable[Tensor]) -> Iterator[float]:
    """Yield the float64 sums of chunks of the scores of a block's layers.

    Raises:
        StatisticsError: a score is negative or not finite.
    """
    for chunk in _chunks(layers):
        if not bool((torch.isfinite(chunk) & (chunk >= 0)).all()):
            raise StatisticsError("a score is negative or not finite")
        yield float(chunk.sum())


def _chunks(layers: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the scores of all layers in chunks, row-major, float64."""
    for layer in layers:
        flat = layer.detach().reshape(-1)
        for start in range(0, flat.numel(), _SCORES_TOGETHER):
            yield flat[start : start + _SCORES_TOGETHER].to(torch.float64)
