"""Sums of products of the inputs of a layer, feature with feature, over tokens.

What is made of them (SparseGPT's Hessian) and which tokens count is decided elsewhere. A matrix of [in, in] float64 is
large, so there is one, and what is done side by side are tiles of it; only those on and above the diagonal are
computed, the rest is their mirror image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.parallel import parallel_map

_TILE = 512
"""Rows and columns of a tile. Changing it may change last bits."""


class GramAccumulator:
    """Sum over tokens of x x^T, growing.

    Args:
        n_features: length of x.
        device: where the sum is kept.
    """

    def __init__(self, n_features: int, device: torch.device) -> None:
        self._sums = torch.zeros(n_features, n_features, dtype=torch.float64, device=device)

    def add(self, pieces: Sequence[Tensor]) -> None:
        """Add the tokens of several pieces, one piece after the other, in float64.

        The result depends on the pieces and their order, not on how many calls bring them or how many threads work.

        Args:
            pieces: [tokens, in] each, any float dtype, counted tokens only: one piece a demonstration.
        Raises:
            ShapeError: a piece has other features.
        """
        n_features = self._sums.shape[0]
        for piece in pieces:
            if piece.ndim != 2 or piece.shape[1] != n_features:
                got = tuple(piece.shape)
                raise ShapeError("tokens do not fit the products", expected=f"[tokens, {n_features}]", got=got)

        @torch.inference_mode()
        def add_tile(tile: tuple[slice, slice]) -> None:
            rows, columns = tile
            for piece in pieces:
                left = piece[:, rows].to(torch.float64)
                right = left if rows == columns else piece[:, columns].to(torch.float64)
                self._sums[rows, columns].addmm_(left.T, right)

        list(parallel_map(add_tile, _upper_tiles(n_features)))

    def matrix(self) -> Tensor:
        """The sum, [in, in] float64, exactly symmetric; further tokens change it."""
        for rows, columns in _upper_tiles(self._sums.shape[0]):
            tile = self._sums[rows, columns]
            self._sums[columns, rows] = tile.triu() + tile.triu(1).T if rows == columns else tile.T
        return self._sums


def _upper_tiles(n_features: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles on and above the diagonal."""
    tiles = [slice(start, start + _TILE) for start in range(0, n_features, _TILE)]
    return [(rows, columns) for position, rows in enumerate(tiles) for columns in tiles[position:]]
