"""Dense weights that stay on an accelerator next to the masked ones, as far as its memory suffices."""

import threading
from collections.abc import Mapping

import torch
from torch import Tensor

LayerKey = tuple[int, str]
"""(block, layer)."""


class DenseCopies:
    """Copies of dense weights on the device of the weight. Without them, a swap gets removed weights from the host.

    Args:
        spare_bytes: accelerator -> bytes for copies; a device that is not listed gets none.
    """

    def __init__(self, spare_bytes: Mapping[torch.device, int]) -> None:
        self._spare_bytes = dict(spare_bytes)
        self._lock = threading.Lock()
        self._copies: dict[LayerKey, Tensor] = {}

    def keep(self, key: LayerKey, weight: Tensor) -> None:
        """Copy the dense weight of a layer, if its device has room. The weight is about to change."""
        n_bytes = weight.numel() * weight.element_size()
        with self._lock:
            spare = self._spare_bytes.get(weight.device, 0)
            if key in self._copies or weight.device.type == "cpu" or n_bytes > spare:
                return
            self._spare_bytes[weight.device] = spare - n_bytes
        self._copies[key] = weight.clone()

    def get(self, key: LayerKey) -> Tensor | None:
        """Return the dense weight of a layer; None if it has no copy."""
        return self._copies.get(key)
