"""Keep masks of one bit per weight, and levels of a layer as bit planes.

Keep masks of one bit per weight, which are applied to weights without unpacking them.

On the CPU, a compiled kernel writes eight weights per byte of the mask. On another device, only the packed bits are
copied to the device, and they are unpacked there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.numeric.masks import packing
from mlprune.numeric.sortable_bits import compiled

Bits = NDArray[np.uint8]
Words = NDArray[np.uint64]
_ROUNDED_TOGETHER = 2**13
"""Weights that are rounded and then masked in the cache; a multiple of 8."""
_ONE, _SIXTEEN, _BELOW_HALF = np.uint32(1), np.uint32(16), np.uint32(0x7FFF)
_MAGNITUDE, _INFINITY, _NAN = np.uint32(0x7FFF_FFFF), np.uint32(0x7F80_0000), np.uint32(0x7FC0)
_ROWS_PER_BYTE = 8
"""The rows of a chunk are a multiple of this, so that every chunk starts at a whole byte."""


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A keep mask: row-major over [out, in], eight weights per byte, the first in the least significant bit."""

    bits: Bits
    """[ceil(out * in / 8)]; 1 means that the weight stays. The last byte is padded with zeros."""
    shape: tuple[int, int]
    """(out, in)."""

    def __post_init__(self) -> None:
        expected = (self.shape[0] * self.shape[1] + 7) // 8
        if len(self.bits) != expected:
            raise ShapeError("a packed mask does not fit its shape", expected=expected, got=len(self.bits))

    @classmethod
    def pack(cls, mask: Tensor) -> "PackedMask":
        """Pack a mask, bool [out, in], on its device.

        Raises:
            ShapeError: it is not a boolean matrix.
        """
        if mask.dtype != torch.bool or mask.ndim != 2:
            got = f"{mask.dtype} {tuple(mask.shape)}"
            raise ShapeError("a mask is not a boolean matrix", expected="bool [out, in]", got=got)
        return cls(packing.pack_flags(mask), (mask.shape[0], mask.shape[1]))

    def unpack(self, device: torch.device | None = None) -> Tensor:
        """Return the mask as bool [out, in], True where the weight stays; by default on the CPU."""
        return packing.unpack_flags(self.bits, self.shape, device=device)

    def without(self, other: "PackedMask") -> "PackedMask":
        """Return the weights that this mask keeps and another one removes."""
        return PackedMask(self.bits & ~other.bits, self.shape)

    def equals(self, other: "PackedMask") -> bool:
        """Whether two masks of one shape keep the same weights."""
        return np.array_equal(self.bits, other.bits)

    def n_kept(self) -> int:
        """Return the number of weights that the mask keeps."""
        n_words = len(self.bits) // 8
        in_words = np.bitwise_count(self.bits[: 8 * n_words].view(np.uint64)).sum(dtype=np.int64)
        return int(in_words) + int(np.bitwise_count(self.bits[8 * n_words :]).sum(dtype=np.int64))

    def is_empty(self) -> bool:
        """Whether the mask keeps no weight."""
        return not self.bits.any()


def keep_all(shape: tuple[int, int]) -> PackedMask:
    """Return the mask that keeps every weight."""
    n_weights = shape[0] * shape[1]
    bits = np.full((n_weights + 7) // 8, 0xFF, dtype=np.uint8)
    if n_weights % 8:
        bits[-1] = (1 << n_weights % 8) - 1
    return PackedMask(bits, shape)


def write_masked(target: Tensor, source: Tensor, mask: PackedMask | None) -> None:
    """Write weights from a source, and 0 where the mask removes them.

    Args:
        target: [out, in], any float dtype, device and memory layout.
        source: [out, in], any float dtype; may be the target itself.
        mask: the weights to keep; None keeps all.
    """
    if mask is not None and _is_rounded(target, source):
        flat, flat_source = target.detach().reshape(-1), source.detach().reshape(-1)
        halves, words = flat.view(torch.int16).numpy().view(np.uint16), flat_source.numpy().view(np.uint32)
        n_whole = flat.numel() // 8 * 8
        _write_rounded(halves, words, halves[:n_whole].view(np.uint64), mask.bits, _expanded_bytes(2))
        _write_kept(flat[n_whole:], flat[n_whole:], mask.bits[n_whole // 8 :])
    elif mask is None or not _has_kernel(target, source):
        if source is not target:
            target.copy_(source)
        if mask is not None:
            target.masked_fill_(mask.unpack(target.device).logical_not_(), 0)
    else:
        _write_kept(target, source, mask.bits)


def replace_mask(target: Tensor, source: Tensor | None, mask: PackedMask | None, *, earlier: PackedMask) -> None:
    """Replace the mask of a weight by another one; the earlier one is applied to it.

    Another device than the CPU gets only the weights that the earlier mask removes and the new one keeps, and one bit
    per weight for these, and for the weights that only the earlier one keeps.

    Args:
        target: [out, in], any float dtype, device and memory layout.
        source: the dense weight, [out, in], any float dtype, on the CPU; None if the new mask keeps no weight that the
            earlier one removes.
        mask: the weights to keep; None keeps all.
        earlier: the mask that was applied.
    """
    if target.device.type == "cpu":
        write_masked(target, target if source is None else source, mask)
        return
    kept = mask or keep_all(earlier.shape)
    added, dropped = kept.without(earlier), earlier.without(kept)
    if source is not None and not added.is_empty():
        target.masked_scatter_(added.unpack(target.device), source[added.unpack()].to(target.dtype).to(target.device))
    if not dropped.is_empty():
        target.masked_fill_(dropped.unpack(target.device), 0)


def _has_kernel(target: Tensor, source: Tensor) -> bool:
    is_same = target.dtype == source.dtype and target.element_size() in _WRITERS
    return is_same and _are_flat(target, source)


def _is_rounded(target: Tensor, source: Tensor) -> bool:
    """Whether a kernel rounds the source to the dtype of the target while it applies a mask."""
    return source.dtype == torch.float32 and target.dtype == torch.bfloat16 and _are_flat(target, source)


def _are_flat(target: Tensor, source: Tensor) -> bool:
    on_cpu = target.device.type == source.device.type == "cpu"
    return on_cpu and target.is_contiguous() and source.is_contiguous()


def _write_kept(target: Tensor, source: Tensor, bits: Bits) -> None:
    """Write the kept weights of a contiguous source to a contiguous target on the CPU, and 0 for the others."""
    n_bytes, n_left = divmod(target.numel(), 8)
    flat, flat_source = target.detach().reshape(-1), source.detach().reshape(-1)
    itemsize = target.element_size()
    words, source_words = (
        weights[: 8 * n_bytes].view(torch.uint8).numpy().view(np.uint64) for weights in (flat, flat_source)
    )
    _WRITERS[itemsize](words, source_words, bits[:n_bytes], _expanded_bytes(itemsize))
    for index in range(8 * n_bytes, 8 * n_bytes + n_left):
        flat[index] = flat_source[index] if bits[-1] >> (index - 8 * n_bytes) & 1 else 0


@lru_cache(maxsize=2)
def _expanded_bytes(itemsize: int) -> Words:
    """Return, for every byte of a mask, eight weights with all bits of the kept ones set, as words: [256, itemsize]."""
    flags = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    return (flags.repeat(itemsize, axis=1) * np.uint8(0xFF)).view(np.uint64)


@compiled
def _write_two_bytes(target: Words, source: Words, bits: Bits, expanded: Words) -> None:
    """Write weights of two bytes, eight of them in two words."""
    for i in range(bits.size):
        kept = bits[i]
        target[2 * i] = source[2 * i] & expanded[kept, 0]
        target[2 * i + 1] = source[2 * i + 1] & expanded[kept, 1]


@compiled
def _write_four_bytes(target: Words, source: Words, bits: Bits, expanded: Words) -> None:
    """Write weights of four bytes, eight of them in four words."""
    for i in range(bits.size):
        kept = bits[i]
        target[4 * i] = source[4 * i] & expanded[kept, 0]
        target[4 * i + 1] = source[4 * i + 1] & expanded[kept, 1]
        target[4 * i + 2] = source[4 * i + 2] & expanded[kept, 2]
        target[4 * i + 3] = source[4 * i + 3] & expanded[kept, 3]


_WRITERS = {2: _write_two_bytes, 4: _write_four_bytes}
"""Size of a weight -> its kernel."""


@compiled
def _round(source: NDArray[np.uint32], rounded: NDArray[np.uint16]) -> None:
    """Write the bits of float32 weights as bfloat16, rounded to nearest, ties to even."""
    for i in range(source.size):
        word = source[i]
        nearest = np.uint32(word + np.uint32(_BELOW_HALF + (word >> _SIXTEEN & _ONE))) >> _SIXTEEN
        rounded[i] = np.uint16(_NAN if word & _MAGNITUDE > _INFINITY else nearest)


@compiled
def _write_rounded(
    target: NDArray[np.uint16], source: NDArray[np.uint32], target_words: Words, bits: Bits, expanded: Words
) -> None:
    """Round some weights, then mask them while they are in the cache; `target_words` is the same memory as words."""
    for start in range(0, target.size, _ROUNDED_TOGETHER):
        stop = min(start + _ROUNDED_TOGETHER, target.size)
        _round(source[start:stop], target[start:stop])
        words = target_words[start // 4 : stop // 4]
        _write_two_bytes(words, words, bits[start // 8 : stop // 8], expanded)


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
        return cls(packing.pack_levels(levels, n_levels), (levels.shape[0], levels.shape[1]), n_levels)

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
            packing.fill_planes(levels, n_levels, planes[:, start * d // 8 : (stop * d + 7) // 8])
        return cls(planes.tobytes(), shape, n_levels)

    def unpack(self) -> Tensor:
        """Return the levels, [out, in] uint8, on the CPU. Raises as `unpack_levels`."""
        return packing.unpack_levels(self.levels, self.shape, self.n_levels)

    def kept(self, level: int) -> PackedMask:
        """Return the keep mask of the sparsity of index `level`. Raises as `kept_bits`."""
        return PackedMask(packing.kept_bits(self.levels, self.shape, self.n_levels, level=level), self.shape)

    def kept_of_all(self) -> Iterator[PackedMask]:
        """Yield the keep masks of all sparsities. Raises as `unpack_levels`."""
        for bits in packing.kept_bits_of_all(self.levels, self.shape, self.n_levels):
            yield PackedMask(bits, self.shape)
