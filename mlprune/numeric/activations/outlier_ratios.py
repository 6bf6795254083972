"""Outlier ratios of OWL (Yin et al., Outlier Weighed Layerwise Sparsity, arXiv:2310.05175).

A block with many outliers among its scores is pruned less than the other blocks: `shifted_sparsities` of the ratios,
which is the published formula.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError

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
