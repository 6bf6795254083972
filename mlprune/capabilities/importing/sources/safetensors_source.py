"""Safetensors weights as a source: one file, or several files with an index."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mlprune.capabilities.importing.sources.weight_format import PIECE_BYTES, Report, TensorSpec, indexed_files
from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_slices import tensor_slice
from mlprune.models.checkpoint.weight_files import INDEX_FILE, SINGLE_FILE

HUB_PATTERNS = ("model.safetensors", "model-*.safetensors", INDEX_FILE)


def find_safetensors(folder: Path) -> tuple[str, ...]:
    """Return the names of the safetensors files of a folder, with their index.

    Raises:
        ModelError: the index is damaged.
    """
    return indexed_files(folder, SINGLE_FILE, INDEX_FILE)


@contextmanager
def open_safetensors(folder: Path, _report: Report) -> Iterator["SafetensorsReader"]:
    """Open the safetensors files of a folder.

    Raises:
        ModelError: a file is damaged.
    """
    yield SafetensorsReader(folder)


class SafetensorsReader:
    """Tensors of safetensors files, read without mapping the files.

    Raises:
        ModelError: a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files = [name for name in find_safetensors(folder) if name != INDEX_FILE]
        self._specs = tuple(spec for file in files for spec in _specs(folder / file))

    quantization: str | None = None

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All tensors, file by file."""
        return self._specs

    def pieces(self, spec: TensorSpec) -> Iterator[Tensor]:
        """Yield the values of a tensor; see `WeightReader`."""
        path = self._folder / spec.file
        stored = tensor_slice(path, spec.name)
        with path.open("rb") as stream:
            stream.seek(stored.begin)
            for start in range(0, stored.n_bytes, PIECE_BYTES):
                data = stream.read(min(PIECE_BYTES, stored.n_bytes - start))
                yield torch.frombuffer(bytearray(data), dtype=torch.uint8).view(spec.dtype)


def _specs(file: Path) -> Iterator[TensorSpec]:
    try:
        with safe_open(str(file), framework="pt") as opened:
            for name in opened.offset_keys():
                part = opened.get_slice(name)
                shape = tuple(part.get_shape())
                dtype = part[:0].dtype if shape else opened.get_tensor(name).dtype
                yield TensorSpec(name, shape, dtype, file=file.name, storage=(file.name, name))
    except (OSError, SafetensorError, RuntimeError) as err:
        raise ModelError("a weight file cannot be read", path=str(file), reason=str(err)) from err
