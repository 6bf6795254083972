"""SHA-256 of every tensor of a model folder: of its bytes as stored, in row-major order, without name and shape.

The file `tensor_hashes.json` of an exported folder lists them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from mlprune.errors import ModelError
from mlprune.json_values import JsonObject, as_int, as_list, as_object, as_str, json_text
from mlprune.models.checkpoint.edit import stored_bytes
from mlprune.models.checkpoint.tensor_slices import TensorSlice, tensor_slices
from mlprune.models.checkpoint.weight_files import WeightFiles, family_at, read_json_object
from mlprune.models.metadata_cache import cached_metadata
from mlprune.processes.parallel import parallel_map

HASHES_FILE = "tensor_hashes.json"
FORMAT = "mlprune-tensors/1"
_PIECE_BYTES = 2**22


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
    files = WeightFiles(folder, family_at(folder))
    placed = [(name, *files.locate(name)) for name in files.names]
    slices = {file: tensor_slices(folder / file) for file in dict.fromkeys(file for _, file, _ in placed)}

    def hashed(entry: tuple[str, str, str]) -> tuple[str, TensorHash]:
        name, file, stored = entry
        part = slices[file][stored]
        return name, TensorHash(file, part.type_name, part.shape, _sha256(folder / file, part))

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


def _sha256(file: Path, part: TensorSlice) -> str:
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
