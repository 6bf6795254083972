"""Byte ranges of tensors in a safetensors file: reads without mapping, and edits in place.

Edit tensors of a safetensors file in place: overwrite all values or zero chosen ones.

Name, shape, dtype and position of a tensor do not change, nor do any other bytes of the file; `replace_tensors` writes
the file again with other shapes. Only one tensor is in memory at a time.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mlprune.errors import ModelError, ShapeError

METADATA = "__metadata__"
"""Entry of a header that is not a tensor."""
_LENGTH_BYTES = 8
"""Size of the number at the start of a file: the length of its header. The tensors follow the header."""
_CACHE_LINE_BYTES = 64
"""Size of a cache line. Kernels may round differently in memory with another alignment."""
_PIECE_BYTES = 2**24
"""Number of bytes to convert at a time. Only these are in memory in both dtypes."""

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
    """None if it is not a plain float type."""
    type_name: str
    """Dtype as the header names it, such as BF16."""


def tensor_slice(file: Path, name: str) -> TensorSlice:
    """Read the byte range of a tensor from the header of a file.

    Raises:
        ModelError: the file cannot be read, is not a safetensors file, or has no such tensor.
    """
    with _reading(file, tensor=name):
        header, start = _header(file)
        return _slice(header[name], start)


def tensor_slices(file: Path) -> dict[str, TensorSlice]:
    """Read the byte ranges of all tensors from the header of a file, in the order of the header.

    Raises:
        ModelError: the file cannot be read, or is not a safetensors file.
    """
    with _reading(file):
        header, start = _header(file)
        return {name: _slice(entry, start) for name, entry in header.items() if name != METADATA}


def _header(file: Path) -> tuple[Mapping[str, Any], int]:
    """Return the header of a file, and the position after it."""
    with file.open("rb") as stream:
        n_header = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        return json.loads(stream.read(n_header)), _LENGTH_BYTES + n_header


def _slice(entry: Mapping[str, Any], start: int) -> TensorSlice:
    begin, end = entry["data_offsets"]
    name = str(entry["dtype"])
    return TensorSlice(start + begin, end - begin, tuple(entry["shape"]), _TYPES.get(name), name)


@contextmanager
def _reading(file: Path, **context: object) -> Iterator[None]:
    """Translate errors of a header that cannot be read."""
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        MemoryError,
        OverflowError,
        RecursionError,
    ) as err:
        reason = getattr(err, "strerror", None) or f"{type(err).__name__}: {err}"
        message = "the header of a weight file cannot be read"
        raise ModelError(message, path=str(file), **context, reason=reason) from err


def copy_tensor(file: Path, stored: TensorSlice, dtype: torch.dtype) -> Tensor:
    """Read a float tensor into new memory, in the given dtype.

    If `dtype` is the stored dtype, the memory has the same offset from a 64-byte boundary as in the mapped file:
    alignment changes the rounding of products of a single row, and results must not depend on how a weight was read.
    Otherwise the tensor is converted piece by piece.

    Raises:
        OSError, EOFError: the file cannot be read, or ends in the middle of the tensor.
    """
    assert stored.dtype is not None, "only floats are copied"
    with file.open("rb", buffering=0) as stream:
        stream.seek(stored.begin)
        if stored.dtype == dtype:
            target = _aligned_memory(stored, stored.dtype)
            _fill(stream, target)
            return target.view(dtype).reshape(stored.shape)
        tensor = torch.empty(stored.shape, dtype=dtype)
        piece = torch.empty(min(stored.n_bytes, _PIECE_BYTES), dtype=torch.uint8)
        for start in range(0, stored.n_bytes, _PIECE_BYTES):
            current = piece[: min(_PIECE_BYTES, stored.n_bytes - start)]
            _fill(stream, current)
            values, first = current.view(stored.dtype), start // stored.dtype.itemsize
            tensor.view(-1)[first : first + len(values)].copy_(values)
    return tensor


def read_rows(file: Path, stored: TensorSlice, rows: Sequence[int]) -> Tensor:
    """Read some rows of a float matrix into new memory, in the stored dtype.

    Raises:
        OSError, EOFError: the file cannot be read, or ends before a row does.
    """
    assert stored.dtype is not None, "only floats are read"
    n_bytes = stored.n_bytes // stored.shape[0]
    data = torch.empty(len(rows), n_bytes, dtype=torch.uint8)
    with file.open("rb", buffering=0) as stream:
        for row, target in zip(rows, data, strict=True):
            stream.seek(stored.begin + row * n_bytes)
            _fill(stream, target)
    return data.view(stored.dtype)


def padded_rows(rows: Tensor, n_rows: int) -> Tensor:
    """Append rows of zeros, or lowest values to a bias, up to this number of rows; further rows stay.

    Args:
        rows: [n, ...], any float dtype.
    Returns: [max(n, n_rows), ...].
    """
    if n_rows <= len(rows):
        return rows
    padding = rows.new_zeros((n_rows - len(rows), *rows.shape[1:]))
    if rows.ndim == 1:
        padding.fill_(torch.finfo(rows.dtype).min)
    return torch.cat([rows, padding])


def _aligned_memory(stored: TensorSlice, dtype: torch.dtype) -> Tensor:
    """Allocate [bytes] uint8 with the alignment of the mapped file, if the dtype allows it."""
    buffer = torch.empty(stored.n_bytes + _CACHE_LINE_BYTES, dtype=torch.uint8)
    begin = stored.begin if stored.begin % dtype.itemsize == 0 else 0
    start = (begin - buffer.data_ptr()) % _CACHE_LINE_BYTES
    return buffer[start : start + stored.n_bytes]


def _fill(stream: FileIO, target: Tensor) -> None:
    """Read the next bytes of a stream until a uint8 tensor is full."""
    remaining = target.numpy().data
    while remaining:
        n_read = stream.readinto(remaining)
        if not n_read:
            raise EOFError("the file ends in the middle of the tensor")
        remaining = remaining[n_read:]


def overwrite_tensor(file: Path, name: str, values: Tensor) -> None:
    """Overwrite a tensor, rounded to nearest (ties to even) if its stored dtype is narrower than that of the values.

    Args:
        file: safetensors file, changed in place.
        name: name of the tensor in the file.
        values: finite, any float dtype, in the shape in which the tensor is stored.
    Raises:
        ShapeError: the values do not fit the tensor.
        ModelError: a value is not finite, or is too large for the stored dtype.
    """
    data = stored_bytes(rounded_as(values, _stored_tensor(file, name), name))
    stored = tensor_slice(file, name)
    assert data.nbytes == stored.n_bytes, "tensors of equal shape and dtype have equal sizes"
    with file.open("r+b") as stream:
        stream.seek(stored.begin)
        stream.write(data)


def stored_bytes(tensor: Tensor) -> memoryview:
    """Return the bytes of a tensor as a file stores it: row-major, in its dtype."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def zero_weights(file: Path, name: str, removed: Tensor) -> None:
    """Overwrite weights of one tensor with +0, whose bytes are zero in every float type.

    Args:
        file: safetensors file, changed in place.
        name: name of the tensor in the file.
        removed: bool, in the shape in which the tensor is stored, True for weights that become 0.
    Raises:
        ShapeError: the mask does not fit the tensor.
    """
    stored = tensor_slice(file, name)
    _check_mask(removed, stored.shape, name)
    with file.open("r+b") as stream:
        stream.seek(stored.begin)
        data = torch.frombuffer(bytearray(stream.read(stored.n_bytes)), dtype=torch.uint8)
        data.view(removed.numel(), -1).masked_fill_(removed.reshape(-1, 1), 0)
        stream.seek(stored.begin)
        stream.write(data.numpy().data)


def replace_tensors(
    file: Path, shapes: Mapping[str, tuple[int, ...]], new: Callable[[Path, TensorSlice], Tensor]
) -> int:
    """Rewrite a file with other values of some tensors, of other shapes and the same dtype.

    One of them is in memory at a time; all others are copied in pieces.

    Args:
        file: safetensors file.
        shapes: name of each changed tensor -> its new shape.
        new: returns the new values of the tensor at a place of the file.
    Returns: bytes of all tensors.
    Raises:
        ModelError: the file cannot be read, or is not a safetensors file.
    """
    stored = sorted(tensor_slices(file).items(), key=lambda item: item[1].begin)
    entries: dict[str, Any] = {METADATA: _header(file)[0].get(METADATA, {"format": "pt"})}
    end = 0
    for name, old in stored:
        begin, shape = end, shapes.get(name, old.shape)
        end += prod(shape) * old.dtype.itemsize if name in shapes and old.dtype else old.n_bytes
        entries[name] = {"dtype": old.type_name, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    rewritten = file.with_suffix(".rewritten")
    with file.open("rb") as source, rewritten.open("wb") as target:
        target.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
        for name, old in stored:
            if name in shapes:
                target.write(stored_bytes(new(file, old)))
                continue
            source.seek(old.begin)
            for start in range(0, old.n_bytes, _PIECE_BYTES):
                target.write(source.read(min(_PIECE_BYTES, old.n_bytes - start)))
    rewritten.replace(file)
    return end


def _stored_tensor(file: Path, name: str) -> Tensor:
    """Read a tensor with the safetensors library."""
    with safe_open(str(file), framework="pt") as opened:
        tensor: Tensor = opened.get_tensor(name)
    return tensor


def rounded_as(values: Tensor, stored: Tensor, name: str) -> Tensor:
    """Round values to the dtype of a stored tensor, to nearest, ties to even.

    Raises:
        ShapeError: the values do not fit the tensor.
        ModelError: a value is not finite, or is too large for the stored dtype.
    """
    if values.shape != stored.shape:
        expected, got = tuple(stored.shape), tuple(values.shape)
        raise ShapeError("new values do not fit the stored tensor", tensor=name, expected=expected, got=got)
    rounded = values.to(stored.dtype)
    is_finite = torch.isfinite(rounded)
    if not bool(is_finite.all()):
        message = "new values are not finite in the dtype in which the tensor is stored"
        raise ModelError(message, tensor=name, dtype=str(stored.dtype), n_values=int((~is_finite).sum()))
    return rounded


def _check_mask(removed: Tensor, shape: tuple[int, ...], name: str) -> None:
    if tuple(removed.shape) != shape or removed.dtype != torch.bool:
        got = f"{removed.dtype} {tuple(removed.shape)}"
        raise ShapeError("a mask does not fit the stored tensor", tensor=name, expected=f"bool {shape}", got=got)
