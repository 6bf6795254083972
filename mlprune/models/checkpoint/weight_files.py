"""A model folder on disk: its config, its safetensors files tensor by tensor, and the hashes of its content.

Nothing here builds a model. Tensors are read by the name they have in the model; checkpoints that leave out the base
model's prefix (GPT-2's and BLOOM's on the hub) or have an older name (GPT-NeoX's head) are read all the same.

A tensor that is wanted in the dtype it has on disk is not copied: it is a view of the mapped file, whose pages are read
when they are touched and can be dropped by the system again. The mapping is private to one `WeightFiles`: writing to
such a tensor (a mask does) copies the pages concerned and never changes the file, but the same `WeightFiles` gives the
written values when it is asked again. A file that somebody else rewrites in place while it is in use does change what
is read from it. A tensor that is to be in memory for a while only is copied instead, and nothing stays mapped.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.models.checkpoint.tensor_slices import copy_of, tensor_slice
from mlprune.models.families.checks import family_of, oriented
from mlprune.models.families.records import Family
from mlprune.vocabulary import DtypeName

DTYPES: Mapping[DtypeName, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
"""Files that decide how text becomes tokens, where a folder has them."""

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of a model folder.

    Raises:
        ModelError: it is missing, or is no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ModelError("a model folder lacks a file", path=str(path), reason=err.strerror) from err
    except ValueError as err:
        raise ModelError("a file of a model folder is no JSON", path=str(path), reason=str(err)) from err
    if not isinstance(value, dict):
        raise ModelError("a file of a model folder is no JSON object", path=str(path), got=type(value).__name__)
    return value


def family_at(path: Path) -> Family:
    """The family of the model in a folder.

    Raises:
        ModelError: its config cannot be read, or its type has no record.
    """
    return family_of(read_json_object(path / "config.json").get("model_type", ""))


class WeightFiles:
    """The safetensors files of a model folder, opened when a tensor is asked for.

    Raises:
        ModelError: the folder has no safetensors weights, or its index is damaged.
    """

    def __init__(self, path: Path, family: Family) -> None:
        self._path = path
        self._family = family
        self._open: dict[str, tuple[Any, frozenset[str]]] = {}
        self._files = self._file_of_every_tensor()

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files the weights are in, the index included, sorted."""
        index = {INDEX_FILE} if (self._path / INDEX_FILE).exists() else set()
        return tuple(sorted(index | set(self._files.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors, as the checkpoint has them, sorted."""
        return tuple(sorted(self._files))

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds a tensor."""
        return self._stored_name(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor as stored; only the file's header is read.

        Raises:
            ModelError: the checkpoint has no such tensor.
        """
        file, stored = self.place(name)
        return tuple(self._opened(file)[0].get_slice(stored).get_shape())

    def dtype(self, name: str) -> torch.dtype:
        """Type of a tensor as stored; its values are not read.

        Raises:
            ModelError: the checkpoint has no such tensor.
        """
        file, stored = self.place(name)
        stored_type: torch.dtype = self._opened(file)[0].get_slice(stored)[:0].dtype
        return stored_type

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Read one tensor; floating point values come in `dtype`, those that are in it already as a view of the file.

        Raises:
            ModelError: the checkpoint has no such tensor, or the file is damaged.
        """
        file, stored = self.place(name)
        try:
            tensor: Tensor = self._opened(file)[0].get_tensor(stored)
        except (SafetensorError, RuntimeError) as err:
            path = str(self._path / file)
            raise ModelError("a tensor cannot be read", path=path, tensor=stored, reason=str(err)) from err
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def copied(self, name: str, dtype: torch.dtype) -> Tensor:
        """Read one tensor into memory of its own, without mapping the file; see `extents.copy_of`.

        Raises:
            ModelError: the checkpoint has no such tensor, or the file is damaged.
        """
        file, stored = self.place(name)
        extent = tensor_slice(self._path / file, stored)
        if extent.dtype is None:
            return self.read(name, dtype).clone()
        try:
            return copy_of(self._path / file, extent, dtype)
        except (OSError, EOFError) as err:
            path = str(self._path / file)
            raise ModelError("a tensor cannot be read", path=path, tensor=stored, reason=str(err)) from err

    def place(self, name: str) -> tuple[str, str]:
        """The file a tensor is in, and the name it has there.

        Raises:
            ModelError: the checkpoint has no such tensor, or the index names a file that lacks it.
        """
        stored = self._stored_name(name)
        if stored is None:
            raise ModelError("the weights lack a tensor", path=str(self._path), expected=name)
        file = self._files[stored]
        if stored not in self._opened(file)[1]:
            message = "a weight index names a file that does not hold the tensor"
            raise ModelError(message, path=str(self._path / file), tensor=stored)
        return file, stored

    def _file_of_every_tensor(self) -> dict[str, str]:
        if (self._path / INDEX_FILE).exists():
            index = read_json_object(self._path / INDEX_FILE).get("weight_map")
            if not isinstance(index, dict) or not all(_is_plain_name(file) for file in index.values()):
                raise ModelError("a weight index names no files of its folder", path=str(self._path / INDEX_FILE))
            return index
        if not (self._path / SINGLE_FILE).exists():
            others = sorted(
                file.name for pattern in ("*.bin", "*.pt", "*.safetensors") for file in self._path.glob(pattern)
            )
            message = (
                "safetensors only: the folder has no weights that are read here; load it with transformers and call "
                "save_pretrained, which writes model.safetensors"
            )
            raise ModelError(message, path=str(self._path), expected=f"{SINGLE_FILE} or {INDEX_FILE}", got=others)
        return dict.fromkeys(self._opened(SINGLE_FILE)[1], SINGLE_FILE)

    def _opened(self, file_name: str) -> tuple[Any, frozenset[str]]:
        """An open file and the names of its tensors."""
        if file_name not in self._open:
            file = self._path / file_name
            try:
                handle: Any = safe_open(str(file), framework="pt")
            except (OSError, SafetensorError) as err:
                raise ModelError("a weight file cannot be read", path=str(file), reason=str(err)) from err
            self._open[file_name] = handle, frozenset(handle.keys())
        return self._open[file_name]

    def _stored_name(self, name: str) -> str | None:
        older = (past for present, past in self._family.renamed if present == name)
        prefix = f"{self._family.prefix}."
        candidates = (variant for one in (name, *older) for variant in (one, one.removeprefix(prefix), prefix + one))
        return next((candidate for candidate in candidates if candidate in self._files), None)


def _is_plain_name(file: Any) -> bool:
    """Whether an entry of an index names a file right in the model's folder."""
    return isinstance(file, str) and Path(file).name == file


def weight_name(family: Family, block: int, layer: str) -> str:
    """Name of a prunable weight in the model."""
    return f"{family.blocks}.{block}.{layer}.weight"


def read_block(path: Path, block: int, *, dtype: DtypeName = "float32") -> dict[str, Tensor]:
    """Read the prunable weights of one block and nothing else.

    Returns: layer -> [out, in], in the family's order.
    Raises:
        ModelError: the folder is not one we read, or it has no such block.
    """
    family = family_at(path)
    files = WeightFiles(path, family)
    names = {layer: weight_name(family, block, layer) for layer in family.layers}
    return {layer: oriented(files.read(name, DTYPES[dtype]), family) for layer, name in names.items()}


def content_hashes(path: Path, files: WeightFiles) -> dict[str, str]:
    """SHA-256 of the files that make the model what it is: config, tokenizer and weights; by name, sorted."""
    tokenizer = [name for name in TOKENIZER_FILES if (path / name).exists()]
    return {name: file_sha256(path / name) for name in sorted({"config.json", *tokenizer, *files.file_names})}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, remembered for as long as its size and modification time stay.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        status = path.stat()
        return _sha256(str(path.resolve()), status.st_size, status.st_mtime_ns)
    except OSError as err:
        raise ModelError("a file of a model cannot be read", path=str(path), reason=err.strerror) from err


@cache
def _sha256(path: str, _size: int, _mtime_ns: int) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
