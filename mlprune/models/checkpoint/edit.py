"""Edit tensors of a safetensors file in place: overwrite all values or zero chosen ones.

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
