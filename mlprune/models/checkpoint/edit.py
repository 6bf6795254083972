"""Edit tensors of a safetensors file in place: overwrite all values or zero chosen ones, and verify the result.

Name, shape, dtype and position of a tensor do not change, nor do any other bytes of the file. Only one tensor is in
memory at a time.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from mlprune.errors import ModelError, ShapeError
from mlprune.models.checkpoint.tensor_slices import tensor_slice


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
    rounded = _rounded(values, _stored_tensor(file, name), name)
    stored = tensor_slice(file, name)
    data = rounded.contiguous().flatten().view(torch.uint8).numpy()
    assert data.nbytes == stored.n_bytes, "tensors of equal shape and dtype have equal sizes"
    with file.open("r+b") as stream:
        stream.seek(stored.begin)
        stream.write(data.data)


def has_values(file: Path, name: str, values: Tensor) -> bool:
    """Whether a tensor, as the safetensors library reads it, is what `overwrite_tensor` stores for the values.

    Args and Raises: as for `overwrite_tensor`.
    """
    stored = _stored_tensor(file, name)
    return torch.equal(stored, _rounded(values, stored, name))


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
        data.view(removed.numel(), -1)[removed.flatten()] = 0
        stream.seek(stored.begin)
        stream.write(data.numpy().data)


def count_zeroed(file: Path, name: str, removed: Tensor) -> int:
    """Count the chosen weights that are 0 in a file, as the safetensors library reads it.

    Args: as for `zero_weights`.
    Raises:
        ShapeError: the mask does not fit the tensor.
    """
    weight = _stored_tensor(file, name)
    _check_mask(removed, tuple(weight.shape), name)
    return int(torch.count_nonzero((weight == 0) & removed))


def _stored_tensor(file: Path, name: str) -> Tensor:
    """Read a tensor with the safetensors library."""
    with safe_open(str(file), framework="pt") as opened:
        tensor: Tensor = opened.get_tensor(name)
    return tensor


def _rounded(values: Tensor, stored: Tensor, name: str) -> Tensor:
    """Round the values to the dtype of a stored tensor."""
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
