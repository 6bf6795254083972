"""Write safetensors shards: the header first, then one tensor after the other.

A shard has at most `MAX_SHARD_BYTES`, unless a single tensor is larger. Several shards get an index.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_slices import METADATA
from mlprune.models.checkpoint.weight_files import INDEX_FILE, SINGLE_FILE

MAX_SHARD_BYTES = 5 * 10**9
SAFETENSORS_TYPES: Mapping[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
}
_TYPES: Mapping[torch.dtype, str] = {**SAFETENSORS_TYPES, torch.uint8: "U8"}
_HEADER_ALIGNMENT = 8

Pieces = Callable[[], Iterator[Tensor]]


@dataclass(frozen=True)
class OutputTensor:
    """One tensor to write."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    """A float dtype of `SAFETENSORS_TYPES`."""
    pieces: Pieces
    """Yields its values in row-major order as tensors of one dimension, in any float dtype."""

    @property
    def n_bytes(self) -> int:
        """Number of bytes of its values."""
        return prod(self.shape) * self.dtype.itemsize


def write_shards(
    folder: Path,
    tensors: Iterable[OutputTensor],
    *,
    max_bytes: int = MAX_SHARD_BYTES,
    progress: Callable[[int], None],
) -> tuple[str, ...]:
    """Write tensors as safetensors files, with an index if there are several; returns the names of the files.

    Args:
        max_bytes: largest size of the tensors of one file.
        progress: receives the number of bytes of each piece that was written.
    Raises:
        ModelError: a value is too large for the dtype, or a source has too few or too many values.
        OSError: the disk is full.
    """
    shards = _shards(list(tensors), max_bytes)
    if len(shards) == 1:
        _write_file(folder / SINGLE_FILE, shards[0], progress)
        return (SINGLE_FILE,)
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_file(folder / name, shard, progress)
        weight_map |= dict.fromkeys((tensor.name for tensor in shard), name)
    total = sum(tensor.n_bytes for shard in shards for tensor in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return (*dict.fromkeys(weight_map.values()), INDEX_FILE)


def _shards(tensors: Sequence[OutputTensor], max_bytes: int) -> list[list[OutputTensor]]:
    """Distribute tensors over shards in their order."""
    shards: list[list[OutputTensor]] = [[]]
    n_bytes = 0
    for tensor in tensors:
        if shards[-1] and n_bytes + tensor.n_bytes > max_bytes:
            shards.append([])
            n_bytes = 0
        shards[-1].append(tensor)
        n_bytes += tensor.n_bytes
    return shards


def _write_file(path: Path, tensors: Sequence[OutputTensor], progress: Callable[[int], None]) -> None:
    """Write one file. Wider dtypes come first, as the library writes them, so that every tensor is aligned."""
    ordered = sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)
    with path.open("wb", buffering=0) as stream:
        described = ((tensor.name, tensor.dtype, tensor.shape) for tensor in ordered)
        stream.write(header_bytes(described, {"format": "pt"}))
        for tensor in ordered:
            n_written = 0
            for piece in tensor.pieces():
                data = converted(piece, tensor.dtype, tensor.name).view(torch.uint8).numpy().data
                while data:
                    n_bytes = stream.write(data)
                    data = data[n_bytes:]
                    n_written += n_bytes
                    progress(n_bytes)
            if n_written != tensor.n_bytes:
                message = "a tensor of the source has another size than its shape says"
                raise ModelError(message, tensor=tensor.name, expected=tensor.n_bytes, got=n_written)
        os.fsync(stream.fileno())


def header_bytes(tensors: Iterable[tuple[str, torch.dtype, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """Return the beginning of a safetensors file, before its values: the length of the header, and the header.

    Args:
        tensors: name, dtype (a float dtype of `SAFETENSORS_TYPES` or uint8) and shape, in the order of the values.
        metadata: text for readers of the file.
    """
    entries: dict[str, object] = {METADATA: dict(metadata)}
    begin = 0
    for name, dtype, shape in tensors:
        end = begin + prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _TYPES[dtype], "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def converted(values: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """Return values in a dtype, rounded to nearest (ties to even); the same tensor if it has the dtype.

    Raises:
        ModelError: a finite value is too large for the dtype.
    """
    if values.dtype == dtype:
        return values
    rounded = values.to(dtype)
    n_lost = int((torch.isinf(rounded) & torch.isfinite(values)).sum())
    if n_lost:
        message = "values are too large for the dtype; import with another --dtype"
        raise ModelError(message, tensor=name, dtype=str(dtype).removeprefix("torch."), n_values=n_lost)
    return rounded
