"""Copy many tensors from accelerators to the CPU at once."""

from collections.abc import Hashable
from typing import Generic, TypeVar

import torch
from torch import Tensor

MAX_BYTES = 2**23
"""Size of the tensors on accelerators from which a caller copies them and frees their memory."""

Key = TypeVar("Key", bound=Hashable)


class HostCopies(Generic[Key]):
    """Tensors that are copied to the CPU together: one wait for each device and dtype, not one for each tensor."""

    def __init__(self) -> None:
        self._tensors: dict[Key, Tensor] = {}
        self._n_bytes = 0

    @property
    def is_large(self) -> bool:
        """Whether the tensors on accelerators have reached the size at which they should be copied."""
        return self._n_bytes >= MAX_BYTES

    def add(self, key: Key, tensor: Tensor) -> None:
        """Add a tensor of any device; one on the CPU is kept as it is."""
        self._tensors[key] = tensor
        self._n_bytes += 0 if tensor.device.type == "cpu" else tensor.nbytes

    def take(self) -> dict[Key, Tensor]:
        """Remove all tensors and return them on the CPU, in the order in which they were added."""
        tensors, self._tensors, self._n_bytes = self._tensors, {}, 0
        groups: dict[tuple[torch.device, torch.dtype], list[Key]] = {}
        for key, tensor in tensors.items():
            if tensor.device.type != "cpu":
                groups.setdefault((tensor.device, tensor.dtype), []).append(key)
        for keys in groups.values():
            of_group = [tensors[key] for key in keys]
            copied = torch.cat([tensor.flatten() for tensor in of_group]).cpu()
            pieces = torch.split(copied, [tensor.numel() for tensor in of_group])
            for key, piece in zip(keys, pieces, strict=True):  # a view would be pickled with all its neighbours
                tensors[key] = piece.reshape(tensors[key].shape).clone()
        return tensors
