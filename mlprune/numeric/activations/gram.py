"""Gram matrices: sums over tokens of the products of all pairs of input features of a layer.

SparseGPT's Hessian is such a matrix. It is large ([in, in] float64), so there is only one, and threads work on tiles of
it. Only the tiles on and above the diagonal are computed; the others are their transposes.

Products are float64, or float32 within a demonstration: the products of its tokens are added in float32, and those of
the demonstrations in float64. This takes about half the time, and the error of an element is about that of a float32
sum over one demonstration.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.numeric.selection.sortable_bits import Array, compiled
from mlprune.processes.parallel import parallel_map

_TILE = 512
"""Rows and columns of a tile on the CPU. Another value may change the last bits of results."""

_ACCELERATOR_TILE = 2048
"""The same on an accelerator: 36 products instead of 528 for each demonstration and 16,384 features."""


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
        self._tiles = _upper_tiles(n_features, size=_TILE if device.type == "cpu" else _ACCELERATOR_TILE)
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
