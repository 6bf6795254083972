"""Symmetric matrices: their upper triangles as vectors, row by row, and combinations of Gram matrices."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError

_TILE = 256
"""Rows that are mirrored together."""


def packed_triangle(matrix: Tensor) -> Tensor:
    """Return the elements on and above the diagonal of [n, n] as [n * (n + 1) / 2], row by row, on the CPU.

    The elements below the diagonal are not read.
    """
    n = len(matrix)
    host = matrix.detach().cpu()
    packed = torch.empty(n * (n + 1) // 2, dtype=host.dtype)
    start = 0
    for row in range(n):
        packed[start : start + n - row] = host[row, row:]
        start += n - row
    return packed


def unpacked_triangle(packed: Tensor) -> Tensor:
    """Return the symmetric matrix [n, n] of a packed triangle.

    Raises:
        ShapeError: no matrix has so many elements on and above the diagonal.
    """
    n = (math.isqrt(8 * packed.numel() + 1) - 1) // 2
    if packed.ndim != 1 or n * (n + 1) // 2 != packed.numel():
        raise ShapeError("a packed triangle has an impossible length", expected="n * (n + 1) / 2", got=packed.numel())
    matrix = torch.empty(n, n, dtype=packed.dtype)
    start = 0
    for row in range(n):
        matrix[row, row:] = packed[start : start + n - row]
        start += n - row
    return mirrored(matrix)


def mirrored(matrix: Tensor) -> Tensor:
    """Fill in the elements below the diagonal of [n, n] from those above it, in place, and return the matrix."""
    for rows in (slice(first, first + _TILE) for first in range(0, len(matrix), _TILE)):
        matrix[rows.stop :, rows] = matrix[rows, rows.stop :].T
        tile = matrix[rows, rows].triu()
        matrix[rows, rows] = tile + tile.triu(1).T
    return matrix


def combined_products(matrices: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return the combination of the Gram matrices of several demonstration sets.

    G = sum over sets l of w_l * G_l / tr(G_l),

    so that a set with more tokens or larger activations does not count more. A set whose features are never active
    counts as 0. A single matrix is returned as it is.

    Args:
        matrices: [in, in] float64 each, symmetric.
        shares: weight w_l of each set, > 0.
    Raises:
        StatisticsError: a trace is negative or not finite, or all are 0.
    """
    if len(matrices) == 1:
        return matrices[0]
    traces = [float(matrix.diagonal().sum()) for matrix in matrices]
    if not all(math.isfinite(trace) and trace >= 0 for trace in traces) or not any(traces):
        raise StatisticsError("traces of Gram matrices are impossible", expected="finite, >= 0, not all 0", got=traces)
    total = torch.zeros_like(matrices[0])
    for matrix, trace, share in zip(matrices, traces, shares, strict=True):
        if trace:
            total.add_(matrix, alpha=share / trace)
    return total
