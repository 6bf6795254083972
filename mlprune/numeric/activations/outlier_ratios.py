"""Outliers and the sparsities OWL makes of them (Yin et al., Outlier Weighed Layerwise Sparsity, arXiv:2310.05175).

A block with many outliers among its scores is pruned less than the others. The scores come from `scores`, the masks
from `masks`; which demonstrations are read is the caller's choice.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError

_SCORES_TOGETHER = 2**14
"""Scores added at a time: few enough that no library splits the sum over threads."""

_DECIMALS = 12
"""A sparsity keeps as many: 0.5 - 0.08 is then 0.42 and removes 42 weights of 100, not 41."""


def outlier_ratio(scores: Iterable[Tensor], m: float) -> float:
    """Share of a block's scores that are above m times their mean over the block.

    All layers of the block are taken together, as in the published code, so larger layers count more. That code gives
    percents; only differences between blocks matter to it. Sums are float64.

    Args:
        scores: [out, in] of every layer of a block, float, >= 0, from `wanda_scores`.
        m: how far above the mean an outlier lies, > 0.
    Returns: a fraction in [0, 1]; 0 where all scores are 0.
    Raises:
        StatisticsError: there are no scores, or one is negative or not finite.
        BadInputError: m is not a positive number.
    """
    if not (math.isfinite(m) and m > 0):
        raise BadInputError("an outlier needs a positive multiple of the mean", expected="m > 0", got=m)
    layers = tuple(scores)
    n_scores = sum(layer.numel() for layer in layers)
    if n_scores == 0:
        raise StatisticsError("a block has no scores")
    threshold = m * (math.fsum(_sums(layers)) / n_scores)
    return sum(int((chunk > threshold).sum()) for chunk in _chunks(layers)) / n_scores


def owl_sparsities(ratios: Sequence[float], sparsity: float, *, spread: float = 0.08) -> tuple[float, ...]:
    """Sparsity of every block, lower where a block has more outliers.

    r_b = 2 * spread * (ratio_b - min) / (max - min),  sparsity_b = sparsity - (r_b - mean of r)

    Their mean over blocks is `sparsity`, which is the model's sparsity where blocks have equal size. Equal ratios,
    where the published code divides by zero, give every block `sparsity` itself; so does sparsity 0. A sparsity below 0
    or not below 1, which that code hands on, is cut to [0, 1), and only then the mean moves. Results are rounded to 12
    decimals. For the same ratios a higher `sparsity` lowers no block's, so masks of one ordering stay nested.

    Args:
        ratios: of every block, finite, from `outlier_ratio` (or percents).
        sparsity: of all blocks together, in [0, 1).
        spread: > 0, below 0.5; no block is further from `sparsity` than twice this, and the two extremes are exactly
            that far apart.
    Returns: one sparsity a block, each in [0, 1).
    Raises:
        StatisticsError: there are no ratios, or one is not finite.
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
    return tuple(_in_range(round(sparsity - (one - mean), _DECIMALS)) for one in scaled)


def _in_range(sparsity: float) -> float:
    """The nearest number in [0, 1)."""
    return min(max(sparsity, 0.0), math.nextafter(1.0, 0.0))


def _sums(layers: Iterable[Tensor]) -> Iterator[float]:
    """Sum of each chunk, checked."""
    for chunk in _chunks(layers):
        if not bool((torch.isfinite(chunk) & (chunk >= 0)).all()):
            raise StatisticsError("a score is negative or not finite")
        yield float(chunk.sum())


def _chunks(layers: Iterable[Tensor]) -> Iterator[Tensor]:
    """Scores of all layers, row-major, float64, some at a time."""
    for layer in layers:
        flat = layer.detach().reshape(-1)
        for start in range(0, flat.numel(), _SCORES_TOGETHER):
            yield flat[start : start + _SCORES_TOGETHER].to(torch.float64)
