"""Where the bytes of a tensor lie in a safetensors file, and copies of them that leave nothing mapped.

Which file holds which tensor is `checkpoint`'s; `overwriting` replaces the bytes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from mlprune.errors import ModelError

_LENGTH_BYTES = 8
"""A file starts with the length of its header; the tensors follow behind the header."""
_LINE = 64
"""Bytes of a cache line: kernels treat memory that begins on one differently."""
_PIECE_BYTES = 2**24
"""So much is in memory in two dtypes at once."""

_TYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "F64": torch.float64,
        "F32": torch.float32,
        "BF16": torch.bfloat16,
        "F16": torch.float16,
    }
)


@dataclass(frozen=True)
class TensorSlice:
    """One tensor of a file."""

    begin: int
    """First byte, from the start of the file."""
    n_bytes: int
    shape: tuple[int, ...]
    dtype: torch.dtype | None
    """None for a type that is no plain float."""


def tensor_slice(file: Path, name: str) -> TensorSlice:
    """Where a tensor lies.

    Raises:
        ModelError: the file cannot be read, is no safetensors file, or has no such tensor.
    """
    try:
        with file.open("rb") as stream:
            n_header = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            entry = json.loads(stream.read(n_header))[name]
        begin, end = entry["data_offsets"]
        shape, dtype = tuple(entry["shape"]), _TYPES.get(entry["dtype"])
    except (OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError) as err:
        reason = getattr(err, "strerror", None) or f"{type(err).__name__}: {err}"
        message = "the header of a weight file cannot be read"
        raise ModelError(message, path=str(file), tensor=name, reason=reason) from err
    return TensorSlice(_LENGTH_BYTES + n_header + begin, end - begin, shape, dtype)


def copy_of(file: Path, extent: TensorSlice, dtype: torch.dtype) -> Tensor:
    """A float tensor in memory of its own, in some dtype.

    In the dtype it is stored in it lies as far from a 64-byte boundary as in the mapped file: products of a single row
    round differently there, and must not depend on how a weight was read. Otherwise it is converted piece by piece.

    Raises:
        OSError, EOFError: the file cannot be read, or ends in the middle of the tensor.
    """
    assert extent.dtype is not None, "only floats are copied"
    with file.open("rb", buffering=0) as stream:
        stream.seek(extent.begin)
        if extent.dtype == dtype:
            target = _placed(extent, extent.dtype)
            _fill(stream, target)
            return target.view(dtype).reshape(extent.shape)
        found = torch.empty(extent.shape, dtype=dtype)
        piece = torch.empty(min(extent.n_bytes, _PIECE_BYTES), dtype=torch.uint8)
        for start in range(0, extent.n_bytes, _PIECE_BYTES):
            part = piece[: min(_PIECE_BYTES, extent.n_bytes - start)]
            _fill(stream, part)
            values, first = part.view(extent.dtype), start // extent.dtype.itemsize
            found.view(-1)[first : first + len(values)].copy_(values)
    return found


def rows_of(file: Path, extent: TensorSlice, rows: Sequence[int]) -> Tensor:
    """Some rows of a float matrix, as they are stored, in memory of their own.

    Raises:
        OSError, EOFError: the file cannot be read, or ends before a row does.
    """
    assert extent.dtype is not None, "only floats are read"
    n_bytes = extent.n_bytes // extent.shape[0]
    found = torch.empty(len(rows), n_bytes, dtype=torch.uint8)
    with file.open("rb", buffering=0) as stream:
        for row, target in zip(rows, found, strict=True):
            stream.seek(extent.begin + row * n_bytes)
            _fill(stream, target)
    return found.view(extent.dtype)


def _placed(extent: TensorSlice, dtype: torch.dtype) -> Tensor:
    """[bytes] uint8, new memory that lies to a 64-byte boundary as the mapped file does, if the dtype can lie there."""
    room = torch.empty(extent.n_bytes + _LINE, dtype=torch.uint8)
    begin = extent.begin if extent.begin % dtype.itemsize == 0 else 0
    start = (begin - room.data_ptr()) % _LINE
    return room[start : start + extent.n_bytes]


def _fill(stream: Any, target: Tensor) -> None:
    """Read as many bytes as a uint8 tensor holds."""
    array: Any = target.numpy()
    left = memoryview(array)
    while left:
        n_read = stream.readinto(left)
        if not n_read:
            raise EOFError("the file ends in the middle of the tensor")
        left = left[n_read:]
