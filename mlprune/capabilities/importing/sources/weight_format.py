"""The interface of a source format, and the weight files of a folder by their names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.models.import_record import QuantisedTensor

PIECE_BYTES = 2**26
"""Largest number of bytes of a tensor that is handed out at a time."""
Report = Callable[[str], None]
"""Receives lines of text for the user."""
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a source, known without reading its values."""

    name: str
    """Its name in the source."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    file: str
    """Name of the file that contains it."""
    storage: tuple[object, ...]
    """Equal for two tensors if and only if they are the same values in the same place, as tied weights can be."""
    codes: QuantisedTensor | None = None
    """How its values are stored, if they are computed from codes."""

    @property
    def n_values(self) -> int:
        """Number of values."""
        return prod(self.shape)


class WeightReader(Protocol):
    """The open weight files of a source."""

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All tensors, in the order in which reading them is fastest."""

    @property
    def quantization(self) -> str | None:
        """Types of the tensors that are dequantised when read, with the number of tensors of each."""

    def pieces(self, spec: TensorSpec) -> Iterator[Tensor]:
        """Yield the values of a tensor in row-major order, as contiguous tensors of one dimension.

        A piece may be a view of a mapped file: it is valid until the next one is requested. Reading pieces to the end
        leaves no page of the tensor in memory, if the format allows it.

        Raises:
            ModelError: the values cannot be read.
        """


@dataclass(frozen=True)
class Checksum:
    """The CRC-32 of a range of bytes of a file."""

    name: str
    begin: int
    end: int
    crc32: int


@dataclass(frozen=True)
class WeightFormat:
    """A format of published weights."""

    summary: str
    find: Callable[[Path], tuple[str, ...]]
    """Names of the weight files and indexes of this format in a folder; empty if it has none. Raises ModelError."""
    open: Callable[[Path, Report], AbstractContextManager[WeightReader]]
    """Open the weight files of a folder. Runs in the child process, without network. Raises ModelError."""
    hub_patterns: tuple[str, ...]
    """Patterns of the weight files in a hub repository."""
    checksums: Callable[[Path], tuple[Checksum, ...]] | None = None
    """Checksums inside a file, which are compared before anything is written. Raises ModelError."""
    prepare: Callable[[Path, Path], None] | None = None
    """Write config.json (and what else the format contains) to a new folder; None if the source has these files."""
    prepare_of: Callable[[Path, Path, Path], None] | None = None
    """Instead of it, write the config.json of a base model, the third argument, if the format has no whole config."""


def row_pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the values of a tensor in row-major order in pieces of at most `PIECE_BYTES`, views where possible."""
    n_values = max(1, PIECE_BYTES // tensor.element_size())
    if tensor.is_contiguous():
        flat = tensor.view(-1)
        yield from (flat[start : start + n_values] for start in range(0, len(flat), n_values))
        return
    n_rows = max(1, n_values // max(1, tensor[0].numel()))
    yield from (tensor[row : row + n_rows].contiguous().view(-1) for row in range(0, len(tensor), n_rows))


def require_finite(values: Tensor, path: Path, tensor: str) -> Tensor:
    """Return values that were computed from codes.

    Raises:
        ModelError: one is NaN or infinite.
    """
    if not bool(torch.isfinite(values).all()):
        message = "values that are computed from codes are not finite: the file is damaged; get it again"
        raise ModelError(message, path=str(path), tensor=tensor, expected="finite scales")
    return values


def indexed_files(folder: Path, single: str, index: str) -> tuple[str, ...]:
    """Return the names of the weight files of a folder, with the index first; empty if the folder has neither.

    Args:
        single: name of the file if there is one, such as `pytorch_model.bin`.
        index: name of the index if there are several.
    Raises:
        ModelError: the index is damaged, names a file outside the folder, or names a missing file.
    """
    if not (folder / index).exists():
        files = [single] if (folder / single).is_file() else []
        _check_downloaded(folder, files)
        return tuple(files)
    files = sorted(set(weight_map(folder / index).values()))
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        message = "files that a weight index names are missing; get them and import again"
        raise ModelError(message, path=str(folder / index), missing=missing, n_expected=len(files))
    _check_downloaded(folder, files)
    return (index, *files)


def _check_downloaded(folder: Path, files: Sequence[str]) -> None:
    """Refuse the small text files that stand for large files in a clone without Git LFS."""
    for name in files:
        with (folder / name).open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                message = "a weight file is only a pointer of Git LFS: run git lfs pull, or download the file"
                raise ModelError(message, path=str(folder / name))


def weight_map(index: Path) -> dict[str, str]:
    """Return tensor -> name of its file, from an index.

    Raises:
        ModelError: it cannot be read, or an entry is not the name of a file directly in the folder.
    """
    entries = read_json_object(index).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        got = "no entries" if entries == {} else type(entries).__name__
        raise ModelError("a weight index has no weight_map", path=str(index), expected="tensor -> file", got=got)
    files: dict[str, str] = {}
    for tensor, file in entries.items():
        if not isinstance(file, str) or Path(file).name != file or file in ("", ".", "..") or "\0" in file:
            message = "a weight index names a file that is not directly in its folder"
            raise ModelError(message, path=str(index), tensor=tensor, got=file)
        files[tensor] = file
    return files
