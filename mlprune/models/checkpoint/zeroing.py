"""Zeros in weight files: chosen weights of a safetensors file are overwritten in place, and read back.

Only the bytes of those weights change. Names, metadata, dtypes, tied tensors and every other value stay as they are,
and one tensor is in memory at a time. Which weights, and in a copy of which file, is decided elsewhere.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from mlprune.errors import ShapeError

_LENGTH_BYTES = 8
"""A safetensors file starts with the length of its header; the tensors follow behind the header."""


def zero_weights(file: Path, name: str, removed: Tensor) -> None:
    """Overwrite weights of one tensor with +0, whose bytes are zero in every float type.

    Args:
        file: safetensors file, changed in place.
        name: of the tensor in the file.
        removed: bool, in the shape the tensor is stored in, True where the weight becomes 0.
    Raises:
        ShapeError: the mask does not fit the tensor.
    """
    shape, begin, n_bytes = _extent(file, name)
    _check_shape(removed, shape, name)
    with file.open("r+b") as stream:
        stream.seek(begin)
        weights = np.frombuffer(bytearray(stream.read(n_bytes)), dtype=np.uint8).reshape(removed.numel(), -1)
        weights[removed.flatten().numpy()] = 0
        stream.seek(begin)
        stream.write(weights.data)


def count_zeroed(file: Path, name: str, removed: Tensor) -> int:
    """How many of the chosen weights are 0 in a file, as the safetensors library reads it.

    Args: as for `zero_weights`.
    Raises:
        ShapeError: the mask does not fit the tensor.
    """
    with safe_open(str(file), framework="pt") as opened:
        weight: Tensor = opened.get_tensor(name)
    _check_shape(removed, tuple(weight.shape), name)
    return int(torch.count_nonzero((weight == 0) & removed))


def _extent(file: Path, name: str) -> tuple[tuple[int, ...], int, int]:
    """Shape of a tensor, and where in the file its bytes begin and how many they are."""
    with file.open("rb") as stream:
        n_header = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        entry = json.loads(stream.read(n_header))[name]
    begin, end = entry["data_offsets"]
    return tuple(entry["shape"]), _LENGTH_BYTES + n_header + begin, end - begin


def _check_shape(removed: Tensor, shape: tuple[int, ...], name: str) -> None:
    if tuple(removed.shape) != shape or removed.dtype != torch.bool:
        got = f"{removed.dtype} {tuple(removed.shape)}"
        raise ShapeError("a mask does not fit the stored tensor", tensor=name, expected=f"bool {shape}", got=got)
