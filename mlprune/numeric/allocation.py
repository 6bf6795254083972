"""Distribution of sparsity over blocks: OWL, AlphaPruning, DLP, and the exponents they read.

Outlier ratios of OWL (Yin et al., Outlier Weighed Layerwise Sparsity, arXiv:2310.05175).

A block with many outliers among its scores is pruned less than the other blocks: `shifted_sparsities` of the ratios,
which is the published formula.

Typical scores of blocks and the sparsities of DLP (Chen et al., Dynamic Layerwise Pruning, arXiv:2505.23807).

A block with higher scores is pruned more: the paper takes scores as unimportance, because the norms of features, and
with them the scores, grow with depth.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.methods import StatisticName

DECIMALS = 12
"""Decimals of a sparsity after rounding: 0.5 - 0.08 is then exactly 0.42 and removes 42 of 100 weights, not 41."""
MOST = 0.999
"""Largest sparsity that a schedule gives a part, unless the total is larger."""
_SCORES_TOGETHER = 2**14
"""Scores that are added at once: few enough that no library splits the sum over threads."""
Spectrum = NDArray[np.float64]
"""Eigenvalues, ascending."""
CutoffName = Literal["peak", "half"]
CUTOFFS: tuple[CutoffName, ...] = ("peak", "half")
_SMALLEST = 1e-12
"""Eigenvalues up to this share of the largest one count as zero."""
_BINS = 100
"""Bins of the histogram of the logarithms of the eigenvalues."""


def shifted_sparsities(
    values: Sequence[float], sparsity: float, *, spread: float, n_weights: Sequence[int]
) -> tuple[float, ...]:
    """Return the sparsity of every part, lower for parts with larger values.

    r_u = 2 * spread * (value_u - min) / (max - min),  d_u = r_u - sum(n_u * r_u) / sum(n_u)
    sparsity_u = sparsity - k * d_u,  k = min(1, sparsity / max d, (0.999 - sparsity) / max(-d))

    with n_u, the number of weights of the part. The mean of sparsity_u, weighted by n_u, is `sparsity`: instead of
    clipping single parts, k makes all shifts smaller where a part would leave [0, 0.999]. If all values are equal, or
    `sparsity` is 0 or at least 0.999, every part gets `sparsity`. Results are rounded to 12 decimals. A higher
    `sparsity` never gives a part a lower one, so the masks of an ordering nest.

    Args:
        values: one per part, finite.
        sparsity: of all parts together, in [0, 1).
        spread: in (0, 0.5). The lowest and the highest sparsity differ by twice the spread if k is 1.
        n_weights: of every part, at least one each.
    Raises:
        StatisticsError: values are missing, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    check_arguments(values, sparsity, spread, below=0.5)
    if gets_total(values, sparsity):
        return (sparsity,) * len(values)
    ratios = [2 * spread * value for value in from_0_to_1(values)]
    mean = weighted_mean(ratios, n_weights)
    shifts = [ratio - mean for ratio in ratios]
    factor = min(1.0, sparsity / max(shifts), (MOST - sparsity) / -min(shifts))
    return tuple(rounded(sparsity - factor * shift) for shift in shifts)


def may_shrink(sparsity: float, spread: float) -> bool:
    """Whether `shifted_sparsities` can make the shifts of some values smaller, because a part would leave the range."""
    return not 2 * spread <= sparsity <= MOST - 2 * spread


def check_arguments(values: Sequence[float], sparsity: float, spread: float, *, below: float) -> None:
    """Check the values of parts, the sparsity of all of them, and the spread.

    Args:
        below: exclusive upper bound of the spread.
    Raises:
        StatisticsError: values are missing, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    if not 0 <= sparsity < 1 or not 0 < spread < below:
        expected = f"0 <= sparsity < 1 and 0 < spread < {below:g}"
        raise BadInputError("a sparsity or a spread is out of range", expected=expected, got=(sparsity, spread))
    if not values or not all(map(math.isfinite, values)):
        raise StatisticsError("values of parts of the model are missing or not finite", got=list(values))


def gets_total(values: Sequence[float], sparsity: float) -> bool:
    """Whether every part gets the sparsity of all of them, because values are equal or nothing can be shifted."""
    return min(values) == max(values) or sparsity == 0 or sparsity >= MOST


def from_0_to_1(values: Sequence[float]) -> list[float]:
    """Return values, which are not all equal, on a scale from 0, the lowest one, to 1, the highest one."""
    lowest, highest = min(values), max(values)
    return [(value - lowest) / (highest - lowest) for value in values]


def weighted_mean(values: Sequence[float], n_weights: Sequence[int]) -> float:
    """Return the mean of the values of parts, weighted by their numbers of weights."""
    return math.fsum(n * value for n, value in zip(n_weights, values, strict=True)) / sum(n_weights)


def rounded(sparsity: float) -> float:
    """Return the sparsity of a part, rounded to 12 decimals, in [0, 0.999]."""
    return min(max(round(sparsity, DECIMALS), 0.0), MOST)


def scaled_sparsities(
    values: Sequence[float], sparsity: float, *, spread: float = 0.3, n_weights: Sequence[int]
) -> tuple[float, ...]:
    """Return the sparsity of every block, higher for blocks with larger values.

    f_b = 1 - spread + 2 * spread * (value_b - min) / (max - min),  d_b = f_b * sum(n) / sum(n_b * f_b) - 1
    sparsity_b = sparsity * (1 + k * d_b),  k = min(1, (0.999 / sparsity - 1) / max d)

    with n_b, the number of weights of the block. The mean of sparsity_b, weighted by n_b, is `sparsity`. With k = 1
    this is the published formula. It exceeds 1 if the sparsity is high; k then makes all differences smaller, so that
    no block leaves [0, 0.999] and the mean stays. If all values are equal, or `sparsity` is at least 0.999, every block
    gets `sparsity`; the published code divides by zero. Results are rounded to 12 decimals. A higher `sparsity` never
    gives a block a lower one, so the masks of an ordering nest.

    Args:
        values: one per block, finite.
        sparsity: of all blocks together, in [0, 1).
        spread: epsilon of the paper, in (0, 1).
        n_weights: of every block, at least one each.
    Raises:
        StatisticsError: values are missing, or one is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    check_arguments(values, sparsity, spread, below=1)
    if gets_total(values, sparsity):
        return (sparsity,) * len(values)
    factors = [1 - spread + 2 * spread * value for value in from_0_to_1(values)]
    mean = weighted_mean(factors, n_weights)
    shifts = [factor / mean - 1 for factor in factors]
    k = min(1.0, (MOST / sparsity - 1) / max(shifts))
    return tuple(rounded(sparsity * (1 + k * shift)) for shift in shifts)


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


@dataclass(frozen=True)
class Tail:
    """Power law that is fitted to the largest eigenvalues."""

    exponent: float
    n: int
    """Eigenvalues in the tail, its smallest included."""
    smallest: float
    """Smallest eigenvalue of the tail."""
    distance: float
    """Kolmogorov-Smirnov distance between the tail and the power law, as in the published code."""


def spectrum(weight: Tensor) -> Spectrum:
    """Return the squared singular values of a weight matrix that are not zero, ascending.

    They are the eigenvalues of the smaller one of W W^T and W^T W in float64. The published code has the singular
    values in float32 and keeps those that are zero, whose logarithms then make the exponent useless.

    Args:
        weight: [out, in], any float dtype.
    Raises:
        StatisticsError: a weight is not finite.
    """
    matrix = weight.detach().to(torch.float64)
    if not bool(torch.isfinite(matrix).all()):
        raise StatisticsError("a weight is not finite")
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    values: Spectrum = torch.linalg.eigvalsh(matrix @ matrix.T).cpu().numpy()
    nonzero: Spectrum = values[values > _SMALLEST * values[-1]]
    return nonzero


def hill_tail(values: Spectrum, *, start: int) -> Tail:
    """Return the power law of the eigenvalues from a position on.

    exponent = 1 + n / (sum over the tail of ln(v / smallest))        (Hill's estimator)
    distance = max over j of |1 - (v_j / smallest)^(1 - exponent) - j / n|,  j = 0, ..., n - 1

    Args:
        values: positive, ascending.
        start: position of the smallest eigenvalue of the tail.
    Returns: an infinite exponent if all eigenvalues of the tail are equal.
    """
    tail = values[start:]
    logs = np.log(tail / tail[0])
    total = float(logs.sum())
    exponent = 1 + len(tail) / total if total > 0 else float("inf")
    expected = 1 - np.exp((1 - exponent) * logs) if total > 0 else np.zeros(len(tail))
    distance = float(np.abs(expected - np.arange(len(tail)) / len(tail)).max())
    return Tail(exponent, len(tail), float(tail[0]), distance)


def layer_tail(values: Spectrum, cutoff: CutoffName) -> Tail:
    """Return the tail of a spectrum.

    `peak`, the default for language models in the published code: of the tails that start near the peak of the
    histogram, the one with the smallest distance; the first one among equals. The histogram has 100 equal bins of
    log10(v); p is 10 to the power of the left edge of the fullest bin. Tails start at eigenvalues in
    [log10(0.95 p), 1.5 p], at any but the largest one. The lower bound is a logarithm in the published code too, and
    so excludes almost nothing; it is kept.

    `half`, the published default for image classifiers: the upper half, from position floor(n / 2) on.

    Args:
        values: from `spectrum`.
    Raises:
        StatisticsError: the tail has fewer than two different eigenvalues.
    """
    tail = hill_tail(values, start=len(values) // 2) if cutoff == "half" and len(values) > 1 else None
    if cutoff == "peak" and len(values) > 1:
        tail = min((hill_tail(values, start=start) for start in _starts(values)), key=_distance, default=None)
    if tail is None or not np.isfinite(tail.exponent):
        raise StatisticsError(
            "the spectrum of a layer has no tail", expected="different singular values", n=len(values)
        )
    return tail


def _starts(values: Spectrum) -> range:
    """Return the positions at which a tail may start near the peak of the histogram."""
    logs = np.log10(values)
    counts, edges = np.histogram(logs, bins=_BINS)
    peak = 10 ** float(edges[int(counts.argmax())])
    first = int(np.searchsorted(values, np.log10(0.95 * peak), side="left"))
    last = int(np.searchsorted(values, 1.5 * peak, side="right"))
    return range(first, min(last, len(values) - 1))


def _distance(tail: Tail) -> float:
    return tail.distance
