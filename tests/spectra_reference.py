"""Exponents of weight spectra as plain float64 loops; they import nothing of the project."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def hill(values: Array, start: int) -> tuple[float, float]:
    """Exponent and Kolmogorov-Smirnov distance of the eigenvalues from a position on, as loops."""
    n = len(values) - start
    exponent = 1 + n / sum(math.log(value / values[start]) for value in values[start:])
    tail = enumerate(values[start:])
    return exponent, max(abs(1 - (value / values[start]) ** (1 - exponent) - j / n) for j, value in tail)


def peak_exponent(weight: Array) -> float:
    """Exponent of AlphaPruning's default cut-off, from singular values in float64."""
    values = np.sort(np.linalg.svd(weight, compute_uv=False) ** 2)
    logs = [math.log10(value) for value in values]
    width = (max(logs) - min(logs)) / 100
    counts = [0] * 100
    for log in logs:
        counts[min(int((log - min(logs)) / width), 99)] += 1
    peak = 10 ** (min(logs) + counts.index(max(counts)) * width)
    fits = []
    for start, value in enumerate(values[:-1]):
        if math.log10(0.95 * peak) <= value <= 1.5 * peak:
            fits.append(hill(values, start)[::-1])
    return min(fits, key=lambda fit: fit[0])[1]
