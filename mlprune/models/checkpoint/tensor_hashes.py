"""SHA-256 of every tensor of a model folder, and one scan that hashes and checks all weights.

SHA-256 of every tensor of a model folder: of its bytes as stored, in row-major order, without name and shape.

The file `tensor_hashes.json` of an exported folder lists them.

Scan weight files once: hash them, and check that every value of the tensors that a model reads is a finite float.

A file is read from start to end in pieces, so memory is bounded and the scan takes about as long as hashing alone.
Tensors that the model does not read are not checked: old checkpoints have masks with infinite values.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.json_values import JsonObject, as_int, as_list, as_object, as_str, json_text
from mlprune.models.checkpoint.tensor_slices import TensorSlice, stored_bytes, tensor_slices
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at, read_json_object
from mlprune.models.metadata_cache import cached_metadata
from mlprune.processes.parallel import parallel_map

logger = logging.getLogger(__name__)
HASHES_FILE = "tensor_hashes.json"
FORMAT = "mlprune-tensors/1"
_PIECE_BYTES = 2**22
LARGE_BYTES = 4 * 10**9
"""Total size of the files from which a log line announces that they are read."""
PIECE_BYTES = 2**24
_LENGTH_BYTES = 8
_EXPONENTS: Mapping[str, tuple[type, int]] = MappingProxyType(
    {
        "F64": (np.uint64, 0x7FF0_0000_0000_0000),
        "F32": (np.uint32, 0x7F80_0000),
        "BF16": (np.uint16, 0x7F80),
        "F16": (np.uint16, 0x7C00),
    }
)
"""Dtype in the header of a file -> integers of the same size, and the bits that are all set in a NaN or an infinity."""


@dataclass(frozen=True)
class TensorHash:
    """A stored tensor and the hash of its bytes."""

    file: str
    """Name of its file."""
    dtype: str
    """As the header of the file names it, such as BF16."""
    shape: tuple[int, ...]
    """As stored."""
    sha256: str


def tensor_hashes(folder: Path) -> dict[str, TensorHash]:
    """Return name in the checkpoint -> hash, sorted by name. Tensors are read in pieces.

    Raises:
        ModelError: the folder has no safetensors weights, or a file cannot be read.
    """
    files = WeightFiles(folder, architecture_at(folder))
    placed = [(name, *files.locate(name)) for name in files.names]
    slices = {file: tensor_slices(folder / file) for file in dict.fromkeys(file for _, file, _ in placed)}

    def hashed(entry: tuple[str, str, str]) -> tuple[str, TensorHash]:
        name, file, stored = entry
        part = slices[file][stored]
        return name, TensorHash(file, part.type_name, part.shape, _tensor_sha256(folder / file, part))

    return dict(parallel_map(hashed, placed))


def base_tensor_hashes(folder: Path) -> dict[str, TensorHash]:
    """Return the hashes of a base model, from the cache of model metadata if its files have not changed."""
    stored = cached_metadata(folder, "tensor hashes", lambda: hashes_json(tensor_hashes(folder)))
    return _parsed(as_object(stored["tensors"]))


def hashes_json(hashes: Mapping[str, TensorHash]) -> JsonObject:
    """Return the content of `tensor_hashes.json`."""
    tensors = {name: {**asdict(one), "shape": list(one.shape)} for name, one in hashes.items()}
    return {"format": FORMAT, "tensors": tensors}


def write_hashes(folder: Path, hashes: Mapping[str, TensorHash]) -> None:
    """Write `tensor_hashes.json`."""
    (folder / HASHES_FILE).write_text(json_text(hashes_json(hashes)), encoding="utf-8")


def read_hashes(folder: Path) -> dict[str, TensorHash]:
    """Read `tensor_hashes.json`.

    Raises:
        ModelError: it is missing, or has another content.
    """
    try:
        return _parsed(as_object(read_json_object(folder / HASHES_FILE)["tensors"]))
    except (KeyError, TypeError) as err:
        message = "a file does not list the hashes of tensors"
        raise ModelError(message, path=str(folder / HASHES_FILE), expected=FORMAT, reason=str(err)) from err


def sha256_of_tensor(tensor: Tensor) -> str:
    """Return the hash of a tensor that would be stored as it is."""
    return hashlib.sha256(stored_bytes(tensor)).hexdigest()


def _parsed(tensors: JsonObject) -> dict[str, TensorHash]:
    hashes = {}
    for name, value in tensors.items():
        entry = as_object(value)
        shape = tuple(as_int(size) for size in as_list(entry["shape"]))
        hashes[name] = TensorHash(as_str(entry["file"]), as_str(entry["dtype"]), shape, as_str(entry["sha256"]))
    return hashes


def _tensor_sha256(file: Path, part: TensorSlice) -> str:
    """Return the hash of a byte range of a file.

    Raises:
        ModelError: the file cannot be read, or ends in the middle of the range.
    """
    digest, remaining, piece = hashlib.sha256(), part.n_bytes, memoryview(bytearray(_PIECE_BYTES))
    try:
        with file.open("rb", buffering=0) as stream:
            stream.seek(part.begin)
            while remaining and (n_read := stream.readinto(piece[: min(remaining, _PIECE_BYTES)])):
                digest.update(piece[:n_read])
                remaining -= n_read
    except OSError as err:
        raise ModelError("a weight file cannot be read", path=str(file), reason=err.strerror or str(err)) from err
    if remaining:
        raise ModelError("a weight file ends in the middle of a tensor", path=str(file))
    return digest.hexdigest()


def scan_weights(path: Path, tensors: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Scan the weight files of a model folder.

    Args:
        tensors: file -> names of its tensors that the model reads; none for a file that is only hashed.
    Returns: file -> SHA-256.
    Raises:
        ModelError: a file cannot be read, or a tensor is quantised, not a float, or has a value that is not finite.
    """
    n_bytes = sum((path / file).stat().st_size for file in tensors if (path / file).exists())
    if n_bytes >= LARGE_BYTES:
        logger.warning("reading %.1f GB of weights of %s once, to hash and check them", n_bytes / 1e9, path)
    return {file: _Scan(path / file).run(names) for file, names in sorted(tensors.items())}


class _Scan:
    """Scan of one file; a piece of it is in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._piece = bytearray(PIECE_BYTES)

    def run(self, names: Collection[str]) -> str:
        """Scan the file and return its SHA-256."""
        try:
            with self._path.open("rb", buffering=0) as stream:
                if names:
                    self._tensors(stream, names)
                while self._read(stream, PIECE_BYTES):
                    pass
        except OSError as err:
            raise ModelError("a weight file cannot be read", path=str(self._path), reason=err.strerror) from err
        except (ValueError, KeyError, TypeError, MemoryError, OverflowError, RecursionError) as err:
            message = "the header of a weight file cannot be read"
            raise ModelError(message, path=str(self._path), reason=f"{type(err).__name__}: {err}") from err
        return self._hash.hexdigest()

    def _tensors(self, stream: FileIO, names: Collection[str]) -> None:
        length = stream.read(_LENGTH_BYTES) or b""
        header_bytes = stream.read(int.from_bytes(length, "little")) or b""
        self._hash.update(length + header_bytes)
        header = json.loads(header_bytes)
        at = 0
        for name in sorted(names, key=lambda name: header[name]["data_offsets"]):
            begin, end = header[name]["data_offsets"]
            self._skip(stream, begin - at)
            self._check(stream, name, header[name]["dtype"], n_bytes=end - begin)
            at = end

    def _skip(self, stream: FileIO, n_bytes: int) -> None:
        while n_bytes > 0:
            n_bytes -= self._read(stream, min(n_bytes, PIECE_BYTES)) or n_bytes

    def _check(self, stream: FileIO, name: str, dtype: str, *, n_bytes: int) -> None:
        """Read a tensor and check its values."""
        context = {"path": str(self._path), "tensor": name}
        if dtype not in _EXPONENTS:
            message = "a weight is quantised or an integer; use the original model"
            raise ModelError(message, context, expected=sorted(_EXPONENTS), got=dtype)
        integers, exponent = _EXPONENTS[dtype]
        n_wrong = 0
        while n_bytes > 0:
            n_read = self._read(stream, min(n_bytes, PIECE_BYTES))
            if not n_read:
                raise ModelError("a weight file ends in the middle of a tensor", context)
            values: NDArray[Any] = np.frombuffer(
                self._piece, dtype=integers, count=n_read // np.dtype(integers).itemsize
            )
            n_wrong += int(np.count_nonzero((values & integers(exponent)) == integers(exponent)))
            n_bytes -= n_read
        if n_wrong:
            message = "a weight has values that are not finite; the file is damaged, or the training diverged"
            raise ModelError(message, context, expected="no NaN and no infinity", n_values=n_wrong)

    def _read(self, stream: FileIO, n_bytes: int) -> int:
        """Read up to `n_bytes` into the piece until it is full or the file ends, and hash them."""
        view = memoryview(self._piece)[:n_bytes]
        n_read = 0
        while n_read < n_bytes and (n_more := stream.readinto(view[n_read:])):
            n_read += n_more
        self._hash.update(view[:n_read])
        return n_read
