"""Levels of one layer as bit planes: packed while they are found, and compared without unpacking them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.numeric.masks.packing import fill_planes, kept_bits, kept_bits_of_all, pack_levels, unpack_levels

_ROWS_PER_BYTE = 8
"""The rows of a chunk are a multiple of this, so that every chunk starts at a whole byte."""


@dataclass(frozen=True, eq=False)
class PackedLevels:
    """The packed levels of one layer."""

    levels: bytes
    """As `pack_levels` returns them."""
    shape: tuple[int, int]
    """(out, in)."""
    n_levels: int
    """Number of sparsities."""

    @classmethod
    def pack(cls, levels: Tensor, n_levels: int) -> "PackedLevels":
        """Pack levels, [out, in] uint8, on their device. Raises as `pack_levels`."""
        return cls(pack_levels(levels, n_levels), (levels.shape[0], levels.shape[1]), n_levels)

    @classmethod
    def pack_rows(
        cls, levels_of_rows: Callable[[slice], Tensor], shape: tuple[int, int], n_levels: int, *, n_together: int
    ) -> "PackedLevels":
        """Pack levels that are found for a few rows at a time, so that they never need a byte per weight in memory.

        Args:
            levels_of_rows: returns the levels of some rows, [rows, in] uint8, on the CPU; called in order.
            n_together: approximate number of weights per call.
        Raises: any error of the function, and as `pack_levels`.
        """
        n_rows, d = shape
        planes = np.empty((n_levels.bit_length(), (n_rows * d + 7) // 8), dtype=np.uint8)
        n_chunk_rows = max(1, n_together // max(1, d * _ROWS_PER_BYTE)) * _ROWS_PER_BYTE
        for start in range(0, n_rows, n_chunk_rows):
            stop = min(start + n_chunk_rows, n_rows)
            levels = levels_of_rows(slice(start, stop))
            fill_planes(levels, n_levels, planes[:, start * d // 8 : (stop * d + 7) // 8])
        return cls(planes.tobytes(), shape, n_levels)

    def unpack(self) -> Tensor:
        """Return the levels, [out, in] uint8, on the CPU. Raises as `unpack_levels`."""
        return unpack_levels(self.levels, self.shape, self.n_levels)

    def kept(self, level: int) -> PackedMask:
        """Return the keep mask of the sparsity of index `level`. Raises as `kept_bits`."""
        return PackedMask(kept_bits(self.levels, self.shape, self.n_levels, level=level), self.shape)

    def kept_of_all(self) -> Iterator[PackedMask]:
        """Yield the keep masks of all sparsities. Raises as `unpack_levels`."""
        for bits in kept_bits_of_all(self.levels, self.shape, self.n_levels):
            yield PackedMask(bits, self.shape)
