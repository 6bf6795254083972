"""Packed levels: the fewest bits per weight, in one fixed order."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import ShapeError

MAX_LEVELS = 255
"""Levels are uint8, and one value means that no sparsity removes the weight."""


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
    flat = levels.detach().cpu().contiguous().numpy().reshape(-1)
    _check_highest(flat, n_levels)
    planes = [np.packbits(flat & np.uint8(1 << bit), bitorder="little") for bit in range(n_levels.bit_length())]
    return b"".join(plane.tobytes() for plane in planes)


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
    _check_highest(flat, n_levels)
    return torch.from_numpy(flat).reshape(shape)


def unpack_kept(data: bytes, shape: tuple[int, int], n_levels: int, *, level: int) -> Tensor:
    """Return the keep mask of one sparsity without unpacking the levels: eight weights are compared at once.

    Args:
        data: what `pack_levels` returned.
        shape: (out, in).
        n_levels: number of sparsities, 1 to 255.
        level: index of the sparsity, 0 to n_levels - 1.
    Returns: [out, in], bool, on the CPU; True where the level is above `level`.
    Raises:
        ShapeError: as `unpack_levels`, or there is no such sparsity.
    """
    if not 0 <= level < n_levels:
        raise ShapeError("no such level", expected=f"0 <= level < {n_levels}", got=level)
    planes = _planes(data, shape, n_levels)
    if _above(planes, n_levels).any():
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got="more")
    kept = np.unpackbits(_above(planes, level), count=shape[0] * shape[1], bitorder="little")
    return torch.from_numpy(kept.view(np.bool_)).reshape(shape)


def _planes(data: bytes, shape: tuple[int, int], n_levels: int) -> NDArray[np.uint8]:
    """Return the planes of packed levels, [planes, bytes], the least significant bit first."""
    check_n_levels(n_levels)
    n_planes, plane_bytes = n_levels.bit_length(), (shape[0] * shape[1] + 7) // 8
    if len(data) != n_planes * plane_bytes:
        raise ShapeError("packed levels do not fit the weight", expected=n_planes * plane_bytes, got=len(data))
    return np.frombuffer(data, dtype=np.uint8).reshape(n_planes, plane_bytes)


def _above(planes: NDArray[np.uint8], bound: int) -> NDArray[np.uint8]:
    """Return [bytes] with one bit per weight: 1 if its level is above the bound. The highest differing bit decides."""
    above: NDArray[np.uint8] = np.zeros_like(planes[0])
    equal = np.full_like(planes[0], 0xFF)
    for bit in reversed(range(len(planes))):
        if bound >> bit & 1:
            equal &= planes[bit]
        else:
            above |= equal & planes[bit]
            equal &= ~planes[bit]
    return above


def check_n_levels(n_levels: int) -> None:
    """Raise ShapeError if an ordering cannot have this number of sparsities."""
    if not 1 <= n_levels <= MAX_LEVELS:
        raise ShapeError("wrong number of levels", expected=f"1 to {MAX_LEVELS}", got=n_levels)


def _check_highest(flat: NDArray[np.uint8], n_levels: int) -> None:
    if flat.size and int(flat.max()) > n_levels:
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got=int(flat.max()))
