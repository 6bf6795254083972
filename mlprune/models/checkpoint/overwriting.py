"""Tensors of weight files overwritten in place: new values for one tensor of a safetensors file, and read back.

Name, shape, dtype and place in the file stay, and so does every other byte. Which tensors, and in a copy of which file,
is decided elsewhere; weights that only become 0 are `zeroing.py`'s.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from mlprune.errors import ModelError, ShapeError
from mlprune.models.checkpoint.tensor_slices import tensor_slice


def overwrite_tensor(file: Path, name: str, values: Tensor) -> None:
    """Give a tensor new values, rounded to the dtype it is stored in where that is narrower (to nearest, ties to even).

    Args:
        file: safetensors file, changed in place.
        name: of the tensor in the file.
        values: finite, any float dtype, in the shape the tensor is stored in.
    Raises:
        ShapeError: the values do not fit the tensor.
        ModelError: a value is not finite, or is too large for the stored dtype.
    """
    stored = _stored(file, name)
    written = _rounded(values, stored, name)
    extent = tensor_slice(file, name)
    data = written.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    assert len(data) == extent.n_bytes, "equal shapes and dtypes take equally many bytes"
    with file.open("r+b") as stream:
        stream.seek(extent.begin)
        stream.write(data)


def holds_values(file: Path, name: str, values: Tensor) -> bool:
    """Whether a tensor, as the safetensors library reads it, is what `overwrite_tensor` makes of the values.

    Args and Raises: as for `overwrite_tensor`.
    """
    stored = _stored(file, name)
    return torch.equal(stored, _rounded(values, stored, name))


def _stored(file: Path, name: str) -> Tensor:
    """A tensor as it is in a file."""
    with safe_open(str(file), framework="pt") as opened:
        tensor: Tensor = opened.get_tensor(name)
    return tensor


def _rounded(values: Tensor, stored: Tensor, name: str) -> Tensor:
    """The values in the dtype of a stored tensor."""
    if values.shape != stored.shape:
        expected, got = tuple(stored.shape), tuple(values.shape)
        raise ShapeError("new values do not fit the stored tensor", tensor=name, expected=expected, got=got)
    written = values.to(stored.dtype)
    if not bool(torch.isfinite(written).all()):
        n_bad = int((~torch.isfinite(written)).sum())
        message = "new values are not finite in the dtype the tensor is stored in"
        raise ModelError(message, tensor=name, dtype=str(stored.dtype), n_values=n_bad)
    return written
