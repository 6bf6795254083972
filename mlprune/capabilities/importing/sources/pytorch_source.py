"""PyTorch checkpoints as a source: pickled files, loaded with `weights_only=True` and mapped into memory.

Files in the zip format are mapped, and the pages of each tensor are released after it was read. Files in the old
format, of PyTorch before 1.6, have to be read into memory as a whole.
"""

import ctypes
import mmap
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.importing.sources.pytorch_archive import (
    check_pickle_names,
    check_storage_sizes,
    is_archive,
    record_checksums,
)
from mlprune.capabilities.importing.sources.weight_format import (
    Checksum,
    Report,
    TensorSpec,
    indexed_files,
    row_pieces,
    weight_map,
)
from mlprune.errors import ModelError

_LIBC = ctypes.CDLL(None, use_errno=True)
SINGLE_FILE = "pytorch_model.bin"
INDEX_FILE = "pytorch_model.bin.index.json"
HUB_PATTERNS = ("pytorch_model*.bin", INDEX_FILE)
OLDEST_TORCH = (2, 10)
"""First version in which `weights_only=True` is safe: CVE-2025-32434 and CVE-2026-24747 are fixed."""


def release_pages(storage: Tensor) -> None:
    """Release the pages of a tensor that is a view of a mapped file; the next access reads them from the file again.

    Only whole pages inside the tensor are released. On a system without `madvise` nothing happens.

    Args:
        storage: contiguous, any dtype, on a private mapping that was not written to: changes would be lost.
    """
    if not hasattr(_LIBC, "madvise") or not hasattr(mmap, "MADV_DONTNEED"):
        return
    begin = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (storage.data_ptr() + storage.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end > begin:
        _LIBC.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def find_pytorch(folder: Path) -> tuple[str, ...]:
    """Return the names of the PyTorch weight files of a folder, with their index.

    Raises:
        ModelError: the index is damaged.
    """
    return indexed_files(folder, SINGLE_FILE, INDEX_FILE)


def pytorch_checksums(path: Path) -> tuple[Checksum, ...]:
    """Return the checksums inside a PyTorch file; an index has none.

    Raises:
        ModelError: the file is damaged.
    """
    return () if path.name == INDEX_FILE else record_checksums(path)


@contextmanager
def open_pytorch(folder: Path, report: Report) -> Iterator["PytorchReader"]:
    """Open the PyTorch files of a folder.

    Raises:
        ModelError: torch is too old, a file is damaged, or it asks for more than tensors.
    """
    require_safe_torch(torch.__version__)
    yield PytorchReader(folder, report)


def require_safe_torch(version: str) -> None:
    """Refuse a torch whose loader has a known vulnerability.

    Raises:
        ModelError: the version is older than `OLDEST_TORCH`.
    """
    parts = tuple(int(part) for part in version.split("+", maxsplit=1)[0].split(".")[:2] if part.isdecimal())
    if parts < OLDEST_TORCH:
        message = (
            "pickled weights are loaded only by a torch without known vulnerabilities in its loader; upgrade torch"
        )
        raise ModelError(message, expected="torch 2.10 or newer", got=version)


class PytorchReader:
    """Tensors of PyTorch files; one file is open at a time.

    Raises:
        ModelError: a file is damaged, or it asks for more than tensors.
    """

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder = folder
        self._opened: tuple[str, Mapping[str, Tensor]] = ("", {})
        self._is_mapped: dict[str, bool] = {}
        files = [name for name in find_pytorch(folder) if name != INDEX_FILE]
        for file in files:
            check_pickle_names(folder / file)
            self._is_mapped[file] = is_archive(folder / file)
            if not self._is_mapped[file]:
                size = (folder / file).stat().st_size
                report(f"{file} has PyTorch's old format: all of it is read into memory ({size / 1e9:.1f} GB)")
        self._specs = tuple(spec for file in files for spec in self._file_specs(file))
        self._check_index(folder / INDEX_FILE)

    quantization: str | None = None

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All tensors, file by file, in the order of their values in the file."""
        return self._specs

    def pieces(self, spec: TensorSpec) -> Iterator[Tensor]:
        """Yield the values of a tensor; see `WeightReader`."""
        tensor = self._tensors(spec.file)[spec.name]
        for piece in row_pieces(tensor):
            yield piece
            if self._is_mapped[spec.file] and tensor.is_contiguous():
                release_pages(piece)
        if self._is_mapped[spec.file]:
            release_pages(torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage()))

    def _file_specs(self, file: str) -> Iterator[TensorSpec]:
        tensors = self._tensors(file)
        if self._is_mapped[file]:
            check_storage_sizes(self._folder / file)
        for name in sorted(tensors, key=lambda name: tensors[name].data_ptr()):
            tensor = tensors[name]
            storage = (file, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), str(tensor.dtype))
            yield TensorSpec(name, tuple(tensor.shape), tensor.dtype, file=file, storage=storage)

    def _tensors(self, file: str) -> Mapping[str, Tensor]:
        if self._opened[0] != file:
            self._opened = ("", {})
            self._opened = (file, load_tensors(self._folder / file, is_mapped=self._is_mapped[file]))
        return self._opened[1]

    def _check_index(self, index: Path) -> None:
        if not index.exists():
            return
        got = {spec.name: spec.file for spec in self._specs}
        missing = sorted(name for name, file in weight_map(index).items() if got.get(name) != file)
        if missing:
            message = "a weight index names tensors that its files do not contain"
            raise ModelError(message, path=str(index), missing=missing[:5], n_missing=len(missing))


def load_tensors(path: Path, *, is_mapped: bool) -> Mapping[str, Tensor]:
    """Load a file of tensors: with `weights_only`, on the CPU.

    Raises:
        ModelError: it is damaged, asks for more than tensors, or contains other values.
    """
    try:
        value = torch.load(str(path), map_location="cpu", weights_only=True, mmap=is_mapped)
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError) as err:
        raise _damaged(path, err) from err
    except (pickle.UnpicklingError, AssertionError) as err:
        raise _damaged(path, err) from err
    if not isinstance(value, dict):
        message = "a weight file does not contain a dictionary of tensors"
        raise ModelError(message, path=str(path), got=type(value).__name__)
    wrong = sorted(str(name) for name, tensor in value.items() if not _is_plain(name, tensor))
    if wrong:
        message = "a weight file contains entries that are not dense tensors"
        raise ModelError(message, path=str(path), got=wrong[:5], n_wrong=len(wrong))
    return value


def _is_plain(name: object, tensor: object) -> bool:
    return isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided


def _damaged(path: Path, err: Exception) -> ModelError:
    _, marker, refusal = str(err).partition("WeightsUnpickler error: ")  # torch adds advice to load it without care
    lines = (refusal if marker else str(err)).strip().splitlines()
    reason = lines[0] if lines else type(err).__name__
    return ModelError("a weight file is damaged or not a PyTorch file", path=str(path), reason=reason)
