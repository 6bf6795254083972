"""Rules of CUDA for the operands of an operation: which may be together, and what makes the host wait."""

from typing import Any

import torch

CPU = torch.device("cpu")

MOVES = frozenset(f"aten::{name}" for name in ("to", "_to_copy", "copy_", "copy", "type_as"))
INDEXING = frozenset(
    f"aten::{name}" for name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
)
WITHOUT_WORK = frozenset(
    f"aten::{name}"
    for name in (
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "item",
        "_local_scalar_dense",
    )
)
"""Operations that start no kernel, although they return something new."""
_WAITING = {
    "aten::_local_scalar_dense": "a value is read",
    "aten::item": "a value is read",
    "aten::is_nonzero": "a value is read",
    "aten::equal": "a value is read",
    "aten::allclose": "a value is read",
    **{
        f"aten::{name}": "the size of a result is read"
        for name in ("nonzero", "nonzero_numpy", "argwhere", "masked_select", "bincount", "repeat_interleave")
    },
    **{
        f"aten::{name}": "the size of a result is read"
        for name in ("_unique", "_unique2", "unique_dim", "unique_consecutive")
    },
}


def resolved(device: Any) -> torch.device:
    """Return a device with its index; a number is that of a GPU."""
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return torch.device("cuda", 0) if device.type == "cuda" and device.index is None else device


def reason_to_wait(name: str) -> str | None:
    """Return why the host waits for an operation; None if it does not."""
    return _WAITING.get(name)


def is_pinning(name: str) -> bool:
    """Whether an operation is about pinned memory, which needs a driver."""
    return name in ("aten::pin_memory", "aten::_pin_memory", "aten::is_pinned")


def common_device(name: str, args: Any, tensors: list[torch.Tensor]) -> torch.device:
    """Return the device on which an operation runs.

    Tensors of no dimension may stay on the CPU, and indices on the CPU may index a tensor on a device.

    Raises:
        RuntimeError: the operands are on several devices.
    """
    if name in INDEXING:
        return _indexed_device(name, args)
    devices = {tensor.device for tensor in tensors if tensor.dim() or tensor.device != CPU}
    if len(devices) > 1:
        shapes = ", ".join(f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors)
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} got {shapes}")
    return next(iter(devices), CPU)


def _indexed_device(name: str, args: Any) -> torch.device:
    own: torch.device = args[0].device
    wrong = [index.device for index in args[1] if index is not None and index.device not in (CPU, own)]
    wrong += [value.device for value in args[2:3] if value.dim() and value.device != own]
    if wrong:
        raise RuntimeError(f"{name}: indices or values on {wrong[0]}, indexed tensor on {own}")
    return own


def indexed_bytes(indices: Any) -> int:
    """Return the size of the indices that are copied from the host."""
    on_host = [index for index in indices if index is not None and index.device == CPU]
    return sum(index.numel() * index.element_size() for index in on_host)


def masks_in_index(name: str, args: Any) -> bool:
    """Whether a mask on a device indexes, so that the host needs the number of its entries.

    Filling with one value needs no number.
    """
    masks = [index for index in args[1] if index is not None and index.dtype == torch.bool and index.device != CPU]
    is_filled = "put" in name and args[2].numel() == 1
    return bool(masks) and not is_filled
