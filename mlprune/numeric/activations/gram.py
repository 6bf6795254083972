"""Gram matrices of the inputs of a layer, and symmetric matrices as packed triangles.

Gram matrices: sums over tokens of the products of all pairs of input features of a layer.

SparseGPT's Hessian is such a matrix. It is large ([in, in] float64), so there is only one, and threads work on tiles of
it. Only the tiles on and above the diagonal are computed; the others are their transposes.

Products are float64, or float32 within a demonstration: the products of its tokens are added in float32, and those of
the demonstrations in float64. This takes about half the time, and the error of an element is about that of a float32
sum over one demonstration.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.sortable_bits import Array, compiled
from mlprune.processes.parallel import parallel_map

_TILE = 256
"""Rows that are mirrored together."""
_GRAM_TILE = 512
"""Rows and columns of a tile on the CPU. Another value may change the last bits of results."""
_ACCELERATOR_TILE = 2048
"""The same on an accelerator: 36 products instead of 528 for each demonstration and 16,384 features."""


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
        ShapeError: no matrix has this number of elements on and above the diagonal.
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


class GramAccumulator:
    """Running sum over tokens of x x^T.

    Args:
        n_features: length of x.
        device: of the sum.
        dtype: of the products within a demonstration, float64 or float32.
    """

    def __init__(self, n_features: int, device: torch.device, *, dtype: torch.dtype = torch.float64) -> None:
        self._dtype = dtype
        self._sums = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)
        self._tiles = _upper_tiles(n_features, size=_GRAM_TILE if device.type == "cpu" else _ACCELERATOR_TILE)
        if dtype == torch.float32:
            self._tiles = [part for tile in self._tiles for part in _without_lower_quarter(*tile)]

    def add(self, pieces: Sequence[Tensor]) -> None:
        """Add the tokens of several pieces, in their order.

        The result depends on the pieces and their order, not on the number of calls or threads.

        Args:
            pieces: [tokens, in] each, any float dtype, counted tokens only: one piece per demonstration.
        Raises:
            ShapeError: a piece has another number of features.
        """
        n_features = self._sums.shape[0]
        for piece in pieces:
            if piece.ndim != 2 or piece.shape[1] != n_features:
                got = tuple(piece.shape)
                raise ShapeError("tokens do not fit the Gram matrix", expected=f"[tokens, {n_features}]", got=got)

        @torch.inference_mode()
        def add_tile(tile: tuple[slice, slice]) -> None:
            rows, columns = tile
            sums = self._sums[rows, columns]
            products = torch.empty(sums.shape, dtype=self._dtype, device=sums.device)
            for piece in pieces:
                left = piece[:, rows].to(self._dtype)
                right = left if rows == columns else piece[:, columns].to(self._dtype)
                if self._dtype == torch.float64:
                    sums.addmm_(left.T, right)
                elif sums.device.type == "cpu":
                    _add_to(sums.numpy(), torch.mm(left.T, right, out=products).numpy())
                else:
                    sums.add_(torch.mm(left.T, right, out=products))

        list(parallel_map(add_tile, self._tiles))

    def upper(self) -> Tensor:
        """Return the sum, [in, in] float64, in which only the elements on and above the diagonal have a meaning."""
        return self._sums

    def matrix(self) -> Tensor:
        """Return the sum, [in, in] float64, exactly symmetric. Tokens that are added later change it."""
        for rows, columns in self._tiles:
            tile = self._sums[rows, columns]
            self._sums[columns, rows] = tile.triu() + tile.triu(1).T if rows == columns else tile.T
        return self._sums


@compiled
def _add_to(sums: Array, products: Array) -> None:
    """Add float32 products to float64 sums, [rows, columns] each, without a copy in float64."""
    for row in range(sums.shape[0]):
        for column in range(sums.shape[1]):
            sums[row, column] += products[row, column]


def _without_lower_quarter(rows: slice, columns: slice) -> list[tuple[slice, slice]]:
    """Return the parts of a tile on and above the diagonal; the quarter below it is not needed."""
    middle = (rows.start + rows.stop) // 2
    if rows != columns or middle == rows.start:
        return [(rows, columns)]
    first, second = slice(rows.start, middle), slice(middle, rows.stop)
    return [(first, first), (first, second), (second, second)]


def _upper_tiles(n_features: int, *, size: int) -> list[tuple[slice, slice]]:
    """Return the rows and columns of the tiles on and above the diagonal."""
    tiles = [slice(start, min(start + size, n_features)) for start in range(0, n_features, size)]
    return [(rows, columns) for position, rows in enumerate(tiles) for columns in tiles[position:]]
