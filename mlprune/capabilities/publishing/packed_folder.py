"""Pack the weights of an exported folder: codes in the form that compressed-tensors calls `pack-quantized`.

Instead of `NAME.weight`, a file has `NAME.weight_packed`, `NAME.weight_scale` and `NAME.weight_shape`: the packed codes
[out, words] int32, the scales [out, groups], and the shape [out, in] int64. Values are packed with the lowest bits
first, as value + 2^(bits - 1); these are the codes of `mlprune.numeric.weights.codes` with symmetric levels. The config
says how they are read, and lists the linear layers without codes.

Source: compressed-tensors 0.20, transformers 5.24. Removed weights are zeros among the codes: the formats of
compressed-tensors for sparse weights have no readers any more.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mlprune.counted import bytes_text
from mlprune.errors import BadInputError, PermanentError
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.checkpoint.rewritten_files import FileChanges, rewrite_files, write_json
from mlprune.models.checkpoint.tensor_hashes import TensorHash, tensor_hashes
from mlprune.models.checkpoint.weight_files import (
    WeightFiles,
    architecture_at,
    read_json_object,
    weight_name,
)
from mlprune.models.meta_model import build_skeleton
from mlprune.numeric.weights.codes import CodeFormat, Codes
from mlprune.pruning.mask_files import read_block_codes
from mlprune.steps.variants.variant import UNCODED
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.records import Record
from mlprune.store.store import Store

PACKED_BITS = (4, 8)
"""Bits that engines read."""
GROUPS = (128, 64, 32)
"""Sizes of groups that a recipe can ask for, apart from whole rows."""
SUFFIX = "weight"
CONFIG_KEY = "quantization_config"


@dataclass(frozen=True)
class PackedModel:
    """What packing made of the weight files."""

    layout: CodeFormat
    n_layers: int
    n_bytes_before: int
    n_bytes: int
    hashes: Mapping[str, TensorHash]
    """Name of each tensor -> its hash."""


class StoredCodes:
    """The codes of a variant in a store, a block at a time.

    Raises:
        BadInputError: the variant has no codes, or no engine reads them: of 3 bits, or with a zero point.
    """

    def __init__(self, store: Store, variant: Record) -> None:
        if UNCODED not in variant.parents:
            message = "the weights of this variant are not stored as codes"
            raise BadInputError(message, variant_id=variant.id, expected="a variant with quantise: {bits: 4}")
        files = require_masks(store, variant.id).weights
        self.of_block = lru_cache(maxsize=1)(lambda block: read_block_codes(store, files[block]))
        self.layout = next(iter(self.of_block(0).values())).layout
        if self.layout.bits not in PACKED_BITS or not self.layout.symmetric:
            raise BadInputError(
                "no engine reads the codes of this variant",
                variant_id=variant.id,
                expected="4 or 8 bits, symmetric: true",
                got=f"{self.layout.bits} bits, symmetric: {str(self.layout.symmetric).lower()}",
            )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the run, in which weights are dequantised."""
        return next(iter(self.of_block(0).values())).scales.dtype


def require_packable(model_path: Path, codes: StoredCodes) -> None:
    """Check that the codes of a model can be packed, before anything is written.

    Raises:
        BadInputError: a layer is not a linear layer with a tensor of its own, or its groups do not divide its rows.
    """
    architecture = architecture_at(model_path)
    model, files = build_skeleton(model_path, torch.float32), WeightFiles(model_path, architecture)
    sizes = set()
    for block, layer in _layers(architecture):
        name = weight_name(architecture, block, layer)
        kind = model.get_submodule(name.rpartition(".")[0])
        if architecture.block(block).is_routed(layer) or not isinstance(kind, nn.Linear):
            expected = "linear layers of torch, one tensor each: no experts, no Conv1D"
            raise _cannot_pack(architecture, layer, expected=expected, got=type(kind).__name__)
        parts = files.parts(name)
        if len(parts) > 1 or not parts[0].is_whole:
            raise _cannot_pack(architecture, layer, expected="a tensor of its own", got=[part.name for part in parts])
        sizes.add(files.shape(name)[1])
    group = codes.layout.group
    if group is not None and (odd := sorted(size for size in sizes if size % group)):
        fitting = [str(one) for one in GROUPS if not any(size % one for size in sizes)]
        message = "groups do not divide the rows of a layer, which engines do not read"
        expected = f"quantise with group {' or '.join([*fitting, 'row'])}"
        raise BadInputError(message, expected=expected, got=f"group {group}, rows of {odd[0]} weights")


def _cannot_pack(architecture: Architecture, layer: str, **context: object) -> BadInputError:
    message = "compressed-tensors cannot express the codes of a layer"
    return BadInputError(message, {"model_type": architecture.name, "layer": layer, **context})


def _layers(architecture: Architecture) -> Iterator[tuple[int, str]]:
    for block in range(architecture.n_blocks):
        for layer in architecture.block(block).layers:
            yield block, layer


def pack_folder(folder: Path, codes: StoredCodes) -> PackedModel:
    """Replace the dequantised weights of a folder by their codes, and compare what was written.

    A weight file and the codes of a block are in memory at a time.

    Args:
        folder: an export with all layers of the base model, changed in place.
    Raises:
        PermanentError: the written codes do not give the weights of the variant.
    """
    architecture = architecture_at(folder)
    files = WeightFiles(folder, architecture)
    places = {key: files.locate(weight_name(architecture, *key)) for key in _layers(architecture)}
    changes: dict[str, FileChanges] = defaultdict(FileChanges)
    for key, (file, name) in places.items():
        changes[file].replaced[name] = partial(_packed, codes, key, name)
    before = _weight_bytes(folder)
    ignore = _linear_layers_without_codes(folder, architecture)
    rewrite_files(folder, files, changes)
    for (block, layer), (file, name) in places.items():
        _compare(folder / file, name, codes.of_block(block)[layer])
    hashes = tensor_hashes(folder)  # before the config says that the folder is quantised
    _write_config(folder, codes, ignore=ignore)
    return PackedModel(codes.layout, len(places), before, _weight_bytes(folder), hashes)


def _packed(codes: StoredCodes, key: tuple[int, str], name: str) -> dict[str, Tensor]:
    """Return the tensors that are written instead of the weight of a (block, layer)."""
    (block, layer), module = key, name.removesuffix(SUFFIX)
    of_layer = codes.of_block(block)[layer]
    tensors = of_layer.tensors()
    return {
        f"{module}weight_packed": tensors["codes"],
        f"{module}weight_scale": tensors["scales"],
        f"{module}weight_shape": torch.tensor(of_layer.values.shape),
    }


def _compare(file: Path, name: str, codes: Codes) -> None:
    """Read the codes of a layer again and compare the weights that they give with those of the store."""
    module = name.removesuffix(SUFFIX)
    with safe_open(str(file), "pt") as opened:
        words, scales, shape = (opened.get_tensor(f"{module}weight_{end}") for end in ("packed", "scale", "shape"))
    layout = torch.tensor([int(shape[1]), codes.layout.bits, codes.layout.group or 0])
    written = Codes.of_tensors({"codes": words, "scales": scales, "shape": layout})
    if not torch.equal(written.dequantised(), codes.dequantised()):
        raise PermanentError("the packed weights differ from the variant's", tensor=name, file=file.name)


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _linear_layers_without_codes(folder: Path, architecture: Architecture) -> list[str]:
    """Return the linear layers of a model, such as its head, that cannot be pruned, and so have no codes."""
    layers = {weight_name(architecture, *key).removesuffix(f".{SUFFIX}") for key in _layers(architecture)}
    modules = build_skeleton(folder, torch.float32).named_modules()
    return [name for name, module in modules if isinstance(module, nn.Linear) and name not in layers]


def _write_config(folder: Path, codes: StoredCodes, *, ignore: list[str]) -> None:
    """Write how codes are read, and the dtype of the run, into the config."""
    config = {name: value for name, value in read_json_object(folder / "config.json").items() if name != "torch_dtype"}
    config["dtype"] = str(codes.dtype).removeprefix("torch.")
    config[CONFIG_KEY] = quantization_config(codes.layout, ignore=ignore)
    write_json(folder / "config.json", config)


def quantization_config(layout: CodeFormat, *, ignore: list[str]) -> JsonObject:
    """Return the key of the config that says how codes are read.

    Args:
        ignore: linear layers without codes.
    """
    group: Mapping[str, str | int] = (
        {"strategy": "channel"} if layout.group is None else {"strategy": "group", "group_size": layout.group}
    )
    weights: JsonObject = {"num_bits": layout.bits, "type": "int", "symmetric": True, "dynamic": False, **group}
    targets: JsonObject = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": targets},
        "ignore": list(ignore),
    }


def packed_text(packed: PackedModel) -> str:
    """Return what a packed folder is, what it saves, and what engines do with it."""
    group = "one scale per row" if packed.layout.group is None else f"groups of {packed.layout.group} inputs"
    sizes = f"{bytes_text(packed.n_bytes)} instead of {bytes_text(packed.n_bytes_before)} in weight files"
    return (
        f"The weights of {packed.n_layers} layers are codes of {packed.layout.bits} bits, {group}, in the form "
        f"pack-quantized of compressed-tensors: {sizes}. transformers needs the package compressed-tensors and unpacks "
        "the weights in memory, so it saves download and disk only. Removed weights are zeros among the codes and save "
        "nothing.\n"
    )
