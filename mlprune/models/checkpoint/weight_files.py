"""Read a model folder: its config, and its safetensors files tensor by tensor.

Tensors are read by their name in the model. Checkpoints that omit the base model's prefix (GPT-2 and BLOOM on the hub)
or use an older name (the head of GPT-NeoX) can be read too. No model is built.

A tensor that is read in its stored dtype is not copied: it is a view of the mapped file, whose pages are read on access
and can be evicted by the system. The mapping is private to one `WeightFiles`: writing to such a tensor, as a mask does,
copies the affected pages and never changes the file, but the same `WeightFiles` then returns the written values. If
another process rewrites the file in place, the values change. Tensors that are needed only temporarily are copied
instead, so that the file does not stay mapped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import EFBIG
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.given_files import read_given, require_regular
from mlprune.json_values import JsonObject, JsonValue, parse_json
from mlprune.models.architecture.architecture import Architecture, StoredPart, oriented
from mlprune.models.architecture.config_checks import TEXT_PART
from mlprune.models.architecture.lookup import architecture_of
from mlprune.models.checkpoint.content_hashes import import_advice
from mlprune.models.checkpoint.tensor_slices import copy_tensor, tensor_slice
from mlprune.models.model_limits import most_mib
from mlprune.vocabulary import DtypeName

DTYPES: Mapping[DtypeName, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"
WEIGHT_FORMATS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.safetensors")
"""Names of files with weights, readable here or not."""

OBSOLETE_BUFFERS: Mapping[str, str] = {
    "attn.bias": "GPT-2: the causal mask",
    "attn.masked_bias": "GPT-2: the score of masked positions",
    "attention.bias": "GPT-NeoX: the causal mask",
    "attention.masked_bias": "GPT-NeoX: the score of masked positions",
    "embed_positions.weights": "XGLM: sinusoidal positions",
    "embed_positions._float_tensor": "XGLM: the dtype of the positions",
    "rotary_emb.inv_freq": "rotary frequencies",
    "position_ids": "the numbers of the positions",
    "decoder.version": "OPT: the version of the format",
}
"""End of the name of a tensor -> its content. Older versions of transformers stored these tensors, which are not
weights: the model computes them itself, so they may stay unread."""


def read_json_object(path: Path) -> JsonObject:
    """Read a JSON file of a model folder.

    Raises:
        ModelError: it is missing, or is not a JSON object.
    """
    try:
        value = parse_json(read_given(path, most_mib=most_mib(path.name)))
    except OSError as err:
        message = "a file of a model folder is too large" if err.errno == EFBIG else "a model folder lacks a file"
        raise ModelError(message, path=str(path), reason=err.strerror) from err
    except ValueError as err:
        raise ModelError("a file of a model folder is not JSON", path=str(path), reason=str(err)) from err
    if not isinstance(value, dict):
        raise ModelError("a file of a model folder is not a JSON object", path=str(path), got=type(value).__name__)
    return value


def architecture_at(path: Path | str) -> Architecture:
    """Return the architecture of the model in a folder.

    Raises:
        ModelError: its config cannot be read or used, or describes a model that cannot be pruned.
    """
    try:
        return architecture_of(read_json_object(Path(path) / "config.json"))
    except ModelError as err:
        context = {"path": str(path), **err.context}
        if context.get("kind") == TEXT_PART:
            context["next"] = import_advice(str(path))
        raise ModelError(err.message, context) from err


@dataclass(frozen=True)
class TensorPart:
    """A tensor of a file, or one matrix of a stack in it, that contains rows of a parameter."""

    file: str
    name: str
    """Of the tensor in the file."""
    index: int | None = None
    """Which matrix of the stack; None: the tensor is not a stack."""
    transposed: bool = False
    """Whether the parameter's rows are the columns of the matrix."""

    @property
    def is_whole(self) -> bool:
        """Whether the tensor contains nothing else, in the form of the parameter."""
        return self.index is None and not self.transposed

    def shape_of(self, stored: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the rows of the parameter, from the shape of the tensor."""
        own = tuple(stored if self.index is None else stored[1:])
        return own[::-1] if self.transposed else own

    def view_of(self, stored: Tensor) -> Tensor:
        """Return a view of the rows of the parameter in the whole tensor."""
        own = stored if self.index is None else stored[self.index]
        return own.T if self.transposed else own


class TensorFiles(Protocol):
    """What a comparison of checkpoints reads."""

    @property
    def architecture(self) -> Architecture:
        """The architecture of the model."""

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a tensor."""

    def dtype(self, name: str) -> torch.dtype:
        """Stored dtype of a tensor."""

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Read one tensor."""


class WeightFiles:
    """The safetensors files of a model folder, opened on first access to one of their tensors.

    Raises:
        ModelError: the folder has no safetensors weights, or its index is damaged.
    """

    def __init__(self, path: Path, architecture: Architecture) -> None:
        self._path = path
        self._architecture = architecture
        self._open: dict[str, tuple[Any, frozenset[str]]] = {}
        self._files = self._read_index()

    @property
    def architecture(self) -> Architecture:
        """The architecture of the model."""
        return self._architecture

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the weight files and of their index, sorted."""
        index = {INDEX_FILE} if (self._path / INDEX_FILE).exists() else set()
        return tuple(sorted(index | set(self._files.values())))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tensors in the checkpoint, sorted."""
        return tuple(sorted(self._files))

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a tensor."""
        return self._stored_parts(name) is not None

    def shape(self, name: str) -> tuple[int, ...]:
        """Stored shape of a tensor; only the file's header is read.

        Raises:
            ModelError: the checkpoint has no such tensor.
        """
        parts = self.parts(name)
        shapes = [part.shape_of(self._opened(part.file)[0].get_slice(part.name).get_shape()) for part in parts]
        return shapes[0] if len(parts) == 1 else (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def layer_shapes(self, block: int) -> dict[str, tuple[int, int]]:
        """Return prunable layer -> (out, in) of a block, in order; only headers are read.

        Raises:
            ModelError: the model or the checkpoint has no such block.
        """
        kind = self._architecture.block(block)
        stored = {layer: self.shape(weight_name(self._architecture, block, layer)) for layer in kind.layers}
        n_out, n_in = (1, 0) if kind.transposed else (0, 1)
        return {layer: (shape[n_out], shape[n_in]) for layer, shape in stored.items()}

    def dtype(self, name: str) -> torch.dtype:
        """Stored dtype of a tensor; its values are not read.

        Raises:
            ModelError: the checkpoint has no such tensor.
        """
        part = self.parts(name)[0]
        stored_type: torch.dtype = self._opened(part.file)[0].get_slice(part.name)[:0].dtype
        return stored_type

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Read one tensor; floats are converted to `dtype`, or a view of the file if that is the stored dtype.

        Raises:
            ModelError: the checkpoint has no such tensor, or the file is damaged.
        """
        parts = [self._read_part(part) for part in self.parts(name)]
        tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def _read_part(self, part: TensorPart) -> Tensor:
        """Read rows of a parameter as they are stored; of a stack only one matrix."""
        try:
            opened = self._opened(part.file)[0]
            slices = opened.get_slice(part.name) if part.index is not None else None
            own: Tensor = opened.get_tensor(part.name) if slices is None else slices[part.index]
        except (SafetensorError, RuntimeError) as err:
            path = str(self._path / part.file)
            raise ModelError("a tensor cannot be read", path=path, tensor=part.name, reason=str(err)) from err
        return own.T if part.transposed else own

    def copy(self, name: str, dtype: torch.dtype) -> Tensor:
        """Read one tensor into new memory, without mapping the file; see `copy_tensor`.

        Raises:
            ModelError: the checkpoint has no such tensor, or the file is damaged.
        """
        parts = self.parts(name)
        if len(parts) > 1 or not parts[0].is_whole:
            return self.read(name, dtype).clone()
        file, stored = parts[0].file, parts[0].name
        stored_slice = tensor_slice(self._path / file, stored)
        if stored_slice.dtype is None:
            return self.read(name, dtype).clone()
        try:
            return copy_tensor(self._path / file, stored_slice, dtype)
        except (OSError, EOFError) as err:
            path = str(self._path / file)
            raise ModelError("a tensor cannot be read", path=path, tensor=stored, reason=str(err)) from err

    def locate(self, name: str) -> tuple[str, str]:
        """Find the file of a parameter that is a tensor of its own, and the name of the tensor in that file.

        Raises:
            ModelError: the checkpoint has no such tensor, or the index names a file that lacks it.
        """
        parts = self.parts(name)
        assert len(parts) == 1, "the parameter is one tensor"
        assert parts[0].is_whole, "the parameter is the whole tensor"
        return parts[0].file, parts[0].name

    def parts(self, name: str) -> tuple[TensorPart, ...]:
        """Find the tensors that contain the rows of a parameter, in order; for most parameters one.

        Raises:
            ModelError: the checkpoint has no such tensor, or the index names a file that lacks it.
        """
        found = self._stored_parts(name)
        if found is None:
            raise ModelError("the weights lack a tensor", path=str(self._path), expected=name)
        for part in found:
            if part.name not in self._opened(part.file)[1]:
                message = "a weight index names a file that does not contain the tensor"
                raise ModelError(message, path=str(self._path / part.file), tensor=part.name)
        return found

    def _read_index(self) -> dict[str, str]:
        """Return tensor -> name of its file."""
        if (self._path / INDEX_FILE).exists():
            index = read_json_object(self._path / INDEX_FILE).get("weight_map")
            files = _plain_names(index) if isinstance(index, dict) else None
            if files is None:
                message = "a weight index does not map tensors to files of its folder"
                raise ModelError(message, path=str(self._path / INDEX_FILE))
            return files
        if not (self._path / SINGLE_FILE).exists():
            raise self._no_weights()
        return dict.fromkeys(self._opened(SINGLE_FILE)[1], SINGLE_FILE)

    def _no_weights(self) -> ModelError:
        got = _weight_file_names(self._path)
        context = {"path": str(self._path), "expected": f"{SINGLE_FILE} or {INDEX_FILE}", "got": got}
        if any(name.endswith((".bin", ".gguf")) for name in got):
            return ModelError("the folder has no safetensors weights", context, next=import_advice(str(self._path)))
        return ModelError("the folder has no weights", context)

    def _opened(self, file_name: str) -> tuple[Any, frozenset[str]]:
        """Open a file if necessary; return it with the names of its tensors."""
        if file_name not in self._open:
            file = self._path / file_name
            try:
                require_regular(file)
                handle: Any = safe_open(str(file), framework="pt")
            except (OSError, SafetensorError) as err:
                raise ModelError("a weight file cannot be read", path=str(file), reason=str(err)) from err
            self._open[file_name] = handle, frozenset(handle.keys())
        return self._open[file_name]

    def names_in_model(self, stored: str) -> set[str]:
        """Return the names that a stored tensor can have in the model."""
        prefix = f"{self._architecture.prefix}."
        return {stored, stored.removeprefix(prefix), prefix + stored}

    def _stored_parts(self, name: str) -> tuple[TensorPart, ...] | None:
        """Return the tensors that contain a parameter; None if the checkpoint does not have it in any known form."""
        older_names = [stored for current, stored in self._architecture.renamed if current == name]
        ways: list[tuple[StoredPart, ...]] = [(StoredPart(candidate),) for candidate in (name, *older_names)]
        block, relative = self._architecture.split_name(name)
        if block is not None:
            for way in self._architecture.block(block).ways_of.get(relative, ()):
                ways.append(tuple(part.of_block(block) for part in way))
        for way in ways:
            stored = [self._stored_name(part.name) for part in way]
            if all(stored):
                return tuple(
                    TensorPart(self._files[name], name, part.index, part.transposed)
                    for name, part in zip(stored, way, strict=True)
                    if name is not None
                )
        return None

    def _stored_name(self, name: str) -> str | None:
        """Return the name of a tensor in the checkpoint, with or without the base model's prefix; None if missing."""
        prefix = f"{self._architecture.prefix}."
        candidates = (name, name.removeprefix(prefix), prefix + name)
        return next((candidate for candidate in candidates if candidate in self._files), None)


def has_weights(path: Path) -> bool:
    """Whether a folder has files with weights of any format, or an index of such files."""
    return (path / INDEX_FILE).exists() or bool(_weight_file_names(path))


def _weight_file_names(path: Path) -> list[str]:
    return sorted(file.name for pattern in WEIGHT_FORMATS for file in path.glob(pattern))


def _plain_names(index: Mapping[str, JsonValue]) -> dict[str, str] | None:
    """Return the entries of an index; None if a value is not the name of a file directly in the model's folder."""
    files = {tensor: file for tensor, file in index.items() if isinstance(file, str) and Path(file).name == file}
    return files if len(files) == len(index) else None


def is_obsolete_buffer(name: str) -> bool:
    """Whether a stored tensor is one that older versions of transformers stored and that the model computes."""
    return any(name == end or name.endswith(f".{end}") for end in OBSOLETE_BUFFERS)


def weight_name(architecture: Architecture, block: int, layer: str) -> str:
    """Return the name of a prunable weight in the model."""
    return f"{architecture.blocks}.{block}.{layer}.weight"


def bias_name(architecture: Architecture, block: int, layer: str) -> str:
    """Return the name of the bias of a prunable layer in the model, which not every model has."""
    return f"{architecture.blocks}.{block}.{layer}.bias"


class LayersOnDisk(Mapping[str, Tensor]):
    """Weights of a block that stay on disk: layer -> [out, in], read on every access.

    Args:
        shapes: layer -> (out, in), in the order of the block.
        read: returns the weight of a layer.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]], read: Callable[[str], Tensor]) -> None:
        self.shapes = shapes
        self._read = read

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self.shapes:
            raise KeyError(layer)
        return self._read(layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def shapes_of(weights: Mapping[str, Tensor]) -> Mapping[str, tuple[int, int]]:
    """Return layer -> (out, in); weights on disk are not read."""
    if isinstance(weights, LayersOnDisk):
        return weights.shapes
    return {layer: (weight.shape[0], weight.shape[1]) for layer, weight in weights.items()}


def block_on_disk(path: Path, block: int, *, dtype: DtypeName) -> LayersOnDisk:
    """Return the weights that `read_block` returns, each read into new memory when it is needed.

    Raises:
        ModelError: as `read_block`; a layer that cannot be read raises it on access.
    """
    architecture = architecture_at(path)
    kind, files = architecture.block(block), WeightFiles(path, architecture)

    def read(layer: str) -> Tensor:
        return oriented(files.copy(weight_name(architecture, block, layer), DTYPES[dtype]), kind)

    return LayersOnDisk(files.layer_shapes(block), read)


def read_block(path: Path, block: int, *, dtype: DtypeName = "float32") -> dict[str, Tensor]:
    """Read the prunable weights of one block.

    Returns: layer -> [out, in], in the order in which a block runs them.
    Raises:
        ModelError: the folder is not a model that can be read, or it has no such block.
    """
    architecture = architecture_at(path)
    kind, files = architecture.block(block), WeightFiles(path, architecture)
    names = {layer: weight_name(architecture, block, layer) for layer in kind.layers}
    return {layer: oriented(files.read(name, DTYPES[dtype]), kind) for layer, name in names.items()}
