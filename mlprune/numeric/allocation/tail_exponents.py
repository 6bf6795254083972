"""Exponents of heavy tails of weight spectra (Lu et al., AlphaPruning, arXiv:2410.10912)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import StatisticsError

Spectrum = NDArray[np.float64]
"""Eigenvalues, ascending."""
CutoffName = Literal["peak", "half"]
CUTOFFS: tuple[CutoffName, ...] = ("peak", "half")
_SMALLEST = 1e-12
"""Eigenvalues up to this share of the largest one count as zero."""
_BINS = 100
"""Bins of the histogram of the logarithms of the eigenvalues."""


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
