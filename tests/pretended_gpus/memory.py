"""Memory of pretended GPUs: what is allocated on each, its peak, and the error of a GPU that is full."""

import gc
import threading
from collections.abc import Sequence

import torch
from torch.multiprocessing.reductions import StorageWeakRef


class DeviceMemory:
    """Allocated bytes of every pretended GPU. A storage counts on one device, as long as it exists.

    Args:
        free_bytes: free memory of each GPU at the start.
    """

    def __init__(self, free_bytes: Sequence[int]) -> None:
        self.free_bytes = tuple(free_bytes)
        self._storages: list[dict[int, tuple[StorageWeakRef, int]]] = [{} for _ in free_bytes]
        self._allocated = [0] * len(free_bytes)
        self._peak = [0] * len(free_bytes)
        self._lock = threading.RLock()

    def allocate(self, tensor: torch.Tensor, device: torch.device) -> None:
        """Count the storage of a tensor, unless it is counted.

        Raises:
            torch.OutOfMemoryError: the GPU has no room for it.
        """
        storage = tensor.untyped_storage()
        key, index = storage._cdata, device.index
        with self._lock:
            counted = self._storages[index].get(key)
            if counted is not None and not counted[0].expired():
                return
            if counted is not None:
                self._allocated[index] -= self._storages[index].pop(key)[1]
            self._make_room(index, storage.nbytes())
            self._storages[index][key] = StorageWeakRef(storage), storage.nbytes()
            self._allocated[index] += storage.nbytes()
            if self._allocated[index] > self._peak[index]:
                self._peak[index] = max(self._peak[index], self.allocated(index))

    def allocated(self, index: int) -> int:
        """Return the bytes of the storages on a GPU that exist now."""
        with self._lock:
            storages = self._storages[index]
            for key in [key for key, (storage, _) in storages.items() if storage.expired()]:
                self._allocated[index] -= storages.pop(key)[1]
            return self._allocated[index]

    def peak(self, index: int) -> int:
        """Return the most bytes that were allocated on a GPU at once, since the start or `reset_peak`."""
        return self._peak[index]

    def reset_peak(self, index: int) -> None:
        """Measure the peak from now on."""
        self._peak[index] = self.allocated(index)

    def _make_room(self, index: int, n_bytes: int) -> None:
        """Forget storages that are gone if they seem to fill the GPU."""
        room = self.free_bytes[index] - n_bytes
        if self._allocated[index] > room and self.allocated(index) > room:
            gc.collect()
            if self.allocated(index) > room:
                free = self.free_bytes[index] - self._allocated[index]
                message = f"CUDA out of memory. Tried to allocate {n_bytes} bytes. GPU {index} has {free} bytes free."
                raise torch.OutOfMemoryError(message)
