"""Scores as unsigned integers of the same order, and helpers of the compiled selections.

Only this module depends on the bit layout of float32. Kernels release the interpreter lock, and each thread works on
one chunk of rows, so results do not depend on the number of threads.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mlprune.errors import ShapeError, StatisticsError

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., object])

SIGN = np.uint32(0x8000_0000)
ALL_ONES = np.uint32(0xFFFF_FFFF)
ZERO = np.uint32(0)
_MAGNITUDE = np.uint32(0x7FFF_FFFF)
_INFINITY = np.uint32(0x7F80_0000)


def compiled(function: Function, *, fuses: bool = False) -> Function:
    """Compile a kernel at its first call, without the interpreter lock, and cache the machine code on disk.

    If numba finds no writable folder, every process compiles the kernel again. Results are the same.

    Args:
        fuses: whether a product and a sum may be rounded once, where the processor can do that.
    """
    options: dict[str, Any] = {"nogil": True, **({"fastmath": {"contract"}} if fuses else {})}
    try:
        return cast(Function, njit(**options, cache=True)(function))
    except RuntimeError:
        return cast(Function, njit(**options)(function))


def row_chunks(scores: Array, n_weights: int) -> Iterator[slice]:
    """Yield the rows of a matrix in chunks of about this many weights; nothing if it is empty."""
    n_rows, d = scores.shape
    n_together = max(1, n_weights // max(1, d))
    for start in range(0, n_rows if d else 0, n_together):
        yield slice(start, min(start + n_together, n_rows))


def bits_of(rows: Array) -> Array:
    """Return the bits of float32 rows as uint32, row-major; a copy only if the rows have another layout."""
    return np.ascontiguousarray(rows).view(np.uint32)


def flip_of(highest: bool) -> np.uint32:
    """Return the bits that reverse the order of keys, or keep it."""
    return ALL_ONES if highest else ZERO


def check_matrix(scores: Array) -> None:
    """Raise ShapeError if scores are not a float32 matrix."""
    if scores.ndim != 2 or scores.dtype != np.float32:
        raise ShapeError("scores are not a matrix", expected="float32 [out, in]", got=f"{scores.dtype} {scores.shape}")


def check_finite(scores: Array, greatest: np.uint32) -> None:
    """Raise StatisticsError if the largest magnitude, as bits, is not a finite number."""
    if greatest >= _INFINITY:
        raise StatisticsError("a score is not finite", n_wrong=int((~np.isfinite(scores)).sum()))


@compiled
def key_of(bits: np.uint32, flip: np.uint32) -> np.uint32:
    """Return an unsigned integer of the same order as the float."""
    bits = ZERO if bits == SIGN else bits
    return np.uint32(bits ^ (SIGN if bits < SIGN else ALL_ONES) ^ flip)


@compiled
def key_range(bits: Array, flip: np.uint32, keys: Array) -> tuple[np.uint32, np.uint32, np.uint32]:
    """Return the lowest and highest key and the largest magnitude; fill `keys` unless it is empty."""
    least, greatest, magnitude = ALL_ONES, ZERO, ZERO
    for i in range(bits.size):
        magnitude = max(magnitude, np.uint32(bits[i] & _MAGNITUDE))
        key = key_of(bits[i], flip)
        least, greatest = min(least, key), max(greatest, key)
        if keys.size:
            keys[i] = key
    return least, greatest, magnitude
