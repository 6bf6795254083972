"""Packed levels and masks: the fewest bits per weight, in one fixed order.

Tensors on another device are packed there, so that only packed bits are copied to the CPU.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.numeric.sortable_bits import compiled

MAX_LEVELS = 255
"""Levels are uint8, and one value means that no sparsity removes the weight."""

_BYTES_TOGETHER = 4096
"""Bytes of every plane that are compared at a time."""
_EVERY_BYTE = np.uint64(0x0101_0101_0101_0101)
_EVERY_TWO = np.uint64(0x0003_0003_0003_0003)
_EVERY_FOUR = np.uint64(0x0000_000F_0000_000F)


def pack_levels(levels: Tensor, n_levels: int) -> bytes:
    """Pack levels into ceil(log2(n_levels + 1)) bits per weight.

    The result is a sequence of bit planes, the least significant bit first. A plane has one bit per weight, row-major
    over [out, in], eight per byte with the first weight in the least significant bit (`bitorder="little"`). Its last
    byte is padded with zeros. With one sparsity there is one plane, and its bit is 1 if the weight stays.

    Args:
        levels: [out, in], uint8, each <= n_levels.
        n_levels: number of sparsities, 1 to 255.
    Returns: n_planes * ceil(out * in / 8) bytes.
    Raises:
        ShapeError: a level is above `n_levels`, or `n_levels` is out of range.
    """
    check_n_levels(n_levels)
    levels = levels.detach()
    if levels.device.type == "cpu":
        planes = np.empty((n_levels.bit_length(), (levels.numel() + 7) // 8), dtype=np.uint8)
        fill_planes(levels, n_levels, planes)
        return planes.tobytes()
    _check_highest(int(levels.max()) if levels.numel() else 0, n_levels)
    return b"".join(pack_flags(levels.bitwise_and(1 << bit)).tobytes() for bit in range(n_levels.bit_length()))


def fill_planes(levels: Tensor, n_levels: int, planes: NDArray[np.uint8]) -> None:
    """Write packed levels into the planes of a larger weight, or of the whole one.

    Args:
        levels: [rows, in], uint8, each <= n_levels, on the CPU.
        n_levels: number of sparsities, 1 to 255.
        planes: [planes, bytes], the bytes of these rows; each plane is contiguous.
    Raises:
        ShapeError: as `pack_levels`.
    """
    flat = levels.detach().contiguous().numpy().reshape(-1)
    _check_highest(_fill_planes(flat, flat[: flat.size // 8 * 8].view(np.uint64), planes), n_levels)


def unpack_levels(data: bytes, shape: tuple[int, int], n_levels: int) -> Tensor:
    """Unpack the result of `pack_levels`.

    Args:
        data: what `pack_levels` returned.
        shape: (out, in).
        n_levels: number of sparsities, 1 to 255.
    Returns: [out, in], uint8, on the CPU.
    Raises:
        ShapeError: the length of `data` does not match `shape` and `n_levels`, or it contains a level above `n_levels`.
    """
    planes, n_weights = _planes(data, shape, n_levels), shape[0] * shape[1]
    flat = np.zeros(n_weights, dtype=np.uint8)
    for bit, plane in enumerate(planes):
        flat |= np.unpackbits(plane, count=n_weights, bitorder="little") << np.uint8(bit)
    _check_highest(int(flat.max(initial=0)), n_levels)
    return torch.from_numpy(flat).reshape(shape)


def kept_bits(data: bytes, shape: tuple[int, int], n_levels: int, *, level: int) -> NDArray[np.uint8]:
    """Return the packed keep mask of one sparsity from packed levels: eight weights are compared at once.

    Args:
        data: what `pack_levels` returned, or a view of it.
        shape: (out, in).
        n_levels: number of sparsities, 1 to 255.
        level: index of the sparsity, 0 to n_levels - 1.
    Returns: [ceil(out * in / 8)], packed like a plane; 1 where the level is above `level`.
    Raises:
        ShapeError: as `unpack_levels`, or there is no such sparsity.
    """
    if not 0 <= level < n_levels:
        raise ShapeError("no such level", expected=f"0 <= level < {n_levels}", got=level)
    planes = _planes(data, shape, n_levels)
    _check_planes(planes, n_levels)
    return _kept(planes, shape, level)


def kept_bits_of_all(data: bytes, shape: tuple[int, int], n_levels: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the packed keep masks of all sparsities; args and raises as `kept_bits`."""
    planes = _planes(data, shape, n_levels)
    _check_planes(planes, n_levels)
    for level in range(n_levels):
        yield _kept(planes, shape, level)


def _kept(planes: NDArray[np.uint8], shape: tuple[int, int], level: int) -> NDArray[np.uint8]:
    kept = np.empty(planes.shape[1], dtype=np.uint8)
    _fill_above(planes, level, kept)
    n_weights = shape[0] * shape[1]
    if n_weights % 8:
        kept[-1] &= (1 << n_weights % 8) - 1
    return kept


def _check_planes(planes: NDArray[np.uint8], n_levels: int) -> None:
    """Raise ShapeError if packed levels contain one above `n_levels`."""
    if n_levels & (n_levels + 1) and _fill_above(planes, n_levels, np.empty(planes.shape[1], dtype=np.uint8)):
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got="more")


def pack_flags(flags: Tensor) -> NDArray[np.uint8]:
    """Pack flags of any shape row-major, eight per byte, on their device; the last byte is padded with zeros.

    Args:
        flags: bool, or an integer that is not 0 where the flag is set; any device and memory layout.
    Returns: [ceil(number of flags / 8)].
    """
    if flags.device.type == "cpu":
        return np.packbits(flags.detach().numpy().reshape(-1), bitorder="little")
    flat = flags.detach().ne(0).reshape(-1).to(torch.uint8)
    padded = torch.cat([flat, flat.new_zeros(-flat.numel() % 8)]).reshape(-1, 8)
    packed: NDArray[np.uint8] = padded.mul(_bit_values(flags.device)).sum(dim=1, dtype=torch.uint8).cpu().numpy()
    return packed


def unpack_flags(bits: NDArray[np.uint8], shape: tuple[int, int], *, device: torch.device | None = None) -> Tensor:
    """Unpack the result of `pack_flags` to bool of a shape. Another device than the CPU gets the bits only."""
    n_flags = shape[0] * shape[1]
    if device is None or device.type == "cpu":
        return torch.from_numpy(np.unpackbits(bits, count=n_flags, bitorder="little").view(np.bool_)).reshape(shape)
    packed = torch.from_numpy(bits).to(device).unsqueeze(1)
    return packed.bitwise_and(_bit_values(device)).ne(0).reshape(-1)[:n_flags].reshape(shape)


def _bit_values(device: torch.device) -> Tensor:
    """Return the values of the eight bits of a byte, the least significant first, made on a device."""
    ones = torch.ones(8, dtype=torch.uint8, device=device)
    return ones.bitwise_left_shift(torch.arange(8, dtype=torch.uint8, device=device))


def _planes(data: bytes, shape: tuple[int, int], n_levels: int) -> NDArray[np.uint8]:
    """Return the planes of packed levels, [planes, bytes], the least significant bit first."""
    check_n_levels(n_levels)
    n_planes, plane_bytes = n_levels.bit_length(), (shape[0] * shape[1] + 7) // 8
    if len(data) != n_planes * plane_bytes:
        raise ShapeError("packed levels do not fit the weight", expected=n_planes * plane_bytes, got=len(data))
    return np.frombuffer(data, dtype=np.uint8).reshape(n_planes, plane_bytes)


@compiled
def _fill_planes(flat: NDArray[np.uint8], words: NDArray[np.uint64], planes: NDArray[np.uint8]) -> int:
    """Fill the planes of levels, of which `words` are the same in eights; return the highest level.

    The lowest bits of eight bytes are moved into one byte by shifts. A few words are read at a time for all planes.
    """
    highest = np.uint8(0)
    for start in range(0, words.size, _BYTES_TOGETHER):
        part = words[start : start + _BYTES_TOGETHER]
        for level in flat[8 * start : 8 * (start + part.size)]:
            highest = max(highest, level)
        for bit in range(planes.shape[0]):
            plane = planes[bit, start : start + part.size]
            for i in range(part.size):
                bits = (part[i] >> np.uint64(bit)) & _EVERY_BYTE
                bits = (bits | bits >> np.uint64(7)) & _EVERY_TWO
                bits = (bits | bits >> np.uint64(14)) & _EVERY_FOUR
                plane[i] = np.uint8((bits | bits >> np.uint64(28)) & np.uint64(0xFF))
    n_done = 8 * words.size
    if n_done < flat.size:
        planes[:, words.size] = 0
    for i in range(n_done, flat.size):
        highest = max(highest, flat[i])
        for bit in range(planes.shape[0]):
            planes[bit, words.size] |= np.uint8((flat[i] >> bit & 1) << (i - n_done))
    return int(highest)


@compiled
def _fill_above(planes: NDArray[np.uint8], bound: int, above: NDArray[np.uint8]) -> bool:
    """Fill [bytes] with one bit per weight: 1 if its level is above the bound. Return whether any is.

    The highest differing bit decides. A few bytes of all planes are compared at a time, so that they stay in the cache.
    """
    n_planes, n_bytes = planes.shape
    equal = np.empty(min(_BYTES_TOGETHER, n_bytes), dtype=np.uint8)
    is_any = np.uint8(0)
    for start in range(0, n_bytes, _BYTES_TOGETHER):
        n = min(_BYTES_TOGETHER, n_bytes - start)
        part = above[start : start + n]
        part[:] = 0
        equal[:n] = 0xFF
        for bit in range(n_planes - 1, -1, -1):
            plane = planes[bit, start : start + n]
            if bound >> bit & 1:
                for i in range(n):
                    equal[i] &= plane[i]
            else:
                for i in range(n):
                    part[i] |= equal[i] & plane[i]
                    equal[i] &= ~plane[i]
        for i in range(n):
            is_any |= part[i]
    return bool(is_any)


def check_n_levels(n_levels: int) -> None:
    """Raise ShapeError if an ordering cannot have this number of sparsities."""
    if not 1 <= n_levels <= MAX_LEVELS:
        raise ShapeError("wrong number of levels", expected=f"1 to {MAX_LEVELS}", got=n_levels)


def _check_highest(highest: int, n_levels: int) -> None:
    if highest > n_levels:
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got=highest)
