"""A safetensors file that grows tensor by tensor; only one tensor is in memory at a time.

The header lists the positions of all tensors, so the data is collected in temporary files next to the file, one for
each size of a value. Wider dtypes come first, so that every tensor is aligned.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from mlprune.importing.shard_writer import SAFETENSORS_TYPES
from mlprune.models.checkpoint.edit import stored_bytes

_TYPES: Mapping[torch.dtype, str] = MappingProxyType({**SAFETENSORS_TYPES, torch.uint8: "U8"})
_ALIGNMENT = 8


class GrowingFile:
    """A file of tensors. Call `finish` after the last one.

    Args:
        path: the file to make; without tensors there is none.
        metadata: text of the header.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._metadata = dict(metadata)
        self._entries: dict[int, list[tuple[str, Tensor]]] = defaultdict(list)
        """Size of a value -> names, with tensors on the meta device."""

    def add(self, name: str, tensor: Tensor) -> None:
        """Append a tensor of a float dtype or uint8."""
        self._entries[tensor.itemsize].append((name, tensor.to("meta")))
        with self._part(tensor.itemsize).open("ab") as stream:
            stream.write(stored_bytes(tensor))

    def finish(self) -> None:
        """Write the file, if it has tensors, and remove the temporary ones."""
        sizes = sorted(self._entries, reverse=True)
        if not sizes:
            return
        with self._path.open("wb") as stream:
            stream.write(self._header([entry for size in sizes for entry in self._entries[size]]))
            for size in sizes:
                with self._part(size).open("rb") as part:
                    shutil.copyfileobj(part, stream)
                self._part(size).unlink()

    def _part(self, itemsize: int) -> Path:
        return self._path.with_suffix(f".data-{itemsize}")

    def _header(self, entries: list[tuple[str, Tensor]]) -> bytes:
        header: dict[str, object] = {"__metadata__": self._metadata}
        begin = 0
        for name, tensor in entries:
            end = begin + tensor.numel() * tensor.itemsize
            header[name] = {"dtype": _TYPES[tensor.dtype], "shape": tensor.shape, "data_offsets": [begin, end]}
            begin = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        return len(text).to_bytes(8, "little") + text
