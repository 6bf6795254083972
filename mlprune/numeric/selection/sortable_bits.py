"""Scores as unsigned integers in the same order, and what all compiled selections share.

Everything that depends on how a float32 is laid out in bits is here. Kernels release the interpreter lock and one
thread works on one chunk of rows, so results do not depend on the number of threads.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mlprune.errors import ShapeError, StatisticsError

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])

SIGN = np.uint32(0x8000_0000)
ALL_ONES = np.uint32(0xFFFF_FFFF)
ZERO = np.uint32(0)
_MAGNITUDE = np.uint32(0x7FFF_FFFF)
_INFINITY = np.uint32(0x7F80_0000)


def compiled(function: Function) -> Function:
    """Compile a kernel at its first call, without the interpreter lock, and keep the machine code on disk.

    Where numba finds no folder to write to, every process compiles anew; results are the same.
    """
    try:
        return cast(Function, njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(Function, njit(nogil=True)(function))


def row_chunks(scores: Array, n_weights: int) -> Iterator[slice]:
    """Cut the rows of a matrix into pieces of about so many weights, whoever works on them; none if it is empty."""
    n_rows, d = scores.shape
    n_together = max(1, n_weights // max(1, d))
    for start in range(0, n_rows if d else 0, n_together):
        yield slice(start, min(start + n_together, n_rows))


def bits_of(rows: Array) -> Array:
    """The bits of float32 rows as uint32, row-major; a copy only where the rows lie otherwise."""
    return np.ascontiguousarray(rows).view(np.uint32)


def flip_of(highest: bool) -> np.uint32:
    """What turns the order of keys around, or leaves it."""
    return ALL_ONES if highest else ZERO


def check_matrix(scores: Array) -> None:
    """Raise ShapeError unless scores are a float32 matrix."""
    if scores.ndim != 2 or scores.dtype != np.float32:
        raise ShapeError("scores are not a matrix", expected="float32 [out, in]", got=f"{scores.dtype} {scores.shape}")


def check_finite(scores: Array, greatest: np.uint32) -> None:
    """Raise StatisticsError if the greatest magnitude, as bits, is that of no finite number."""
    if greatest >= _INFINITY:
        raise StatisticsError("a score is not finite", n_wrong=int((~np.isfinite(scores)).sum()))


@compiled
def key_of(bits: np.uint32, flip: np.uint32) -> Any:
    """An unsigned integer that is in the order of the floats."""
    bits = ZERO if bits == SIGN else bits
    return np.uint32(bits ^ (SIGN if bits < SIGN else ALL_ONES) ^ flip)


@compiled
def key_range(bits: Array, flip: np.uint32, keys: Array) -> Any:
    """Least and greatest key and the greatest magnitude; `keys` takes the keys, unless it is empty."""
    least, greatest, magnitude = ALL_ONES, ZERO, ZERO
    for i in range(bits.size):
        magnitude = max(magnitude, np.uint32(bits[i] & _MAGNITUDE))
        key = key_of(bits[i], flip)
        least, greatest = min(least, key), max(greatest, key)
        if keys.size:
            keys[i] = key
    return least, greatest, magnitude
