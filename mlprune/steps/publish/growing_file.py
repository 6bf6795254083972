"""A safetensors file that grows tensor by tensor; only one tensor is in memory at a time.

The header lists the positions of all tensors, so the data is collected in temporary files next to the file, one for
each size of a value. Wider dtypes come first, so that every tensor is aligned.
"""

import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mlprune.importing.shard_writer import header_bytes
from mlprune.models.checkpoint.edit import stored_bytes


class GrowingFile:
    """A file of tensors. Call `finish` after the last one.

    Args:
        path: the file to make; without tensors there is none.
        metadata: text of the header.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._metadata = dict(metadata)
        self._entries: dict[int, list[tuple[str, torch.dtype, torch.Size]]] = defaultdict(list)
        """Size of a value -> name, dtype and shape of each tensor."""

    def add(self, name: str, tensor: Tensor) -> None:
        """Append a tensor of a float dtype or uint8."""
        self._entries[tensor.itemsize].append((name, tensor.dtype, tensor.shape))
        with self._part(tensor.itemsize).open("ab") as stream:
            stream.write(stored_bytes(tensor))

    def finish(self) -> None:
        """Write the file, if it has tensors, and remove the temporary ones."""
        sizes = sorted(self._entries, reverse=True)
        if not sizes:
            return
        with self._path.open("wb") as stream:
            entries = (entry for size in sizes for entry in self._entries[size])
            stream.write(header_bytes(entries, self._metadata))
            for size in sizes:
                with self._part(size).open("rb") as part:
                    shutil.copyfileobj(part, stream)
                self._part(size).unlink()

    def _part(self, itemsize: int) -> Path:
        return self._path.with_suffix(f".data-{itemsize}")
