"""Pack the weights of an exported folder: codes in the form that compressed-tensors calls `pack-quantized`.

Instead of `NAME.weight`, a file has `NAME.weight_packed`, `NAME.weight_scale` and `NAME.weight_shape`: the packed codes
[out, words] int32, the scales [out, groups], and the shape [out, in] int64. Values are packed with the lowest bits
first, as value + 2^(bits - 1); these are the codes of `mlprune.numeric.weights.codes` with symmetric levels. The config
says how they are read, and lists the linear layers without codes.

Heads and neurons whose inputs have no codes can be cut out: the groups of the others are then those of the smaller
layer. Other removed weights are zeros among the codes: the formats of compressed-tensors for sparse weights have no
readers any more.

Source: compressed-tensors 0.20, transformers 5.24.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import gcd
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from mlprune.capabilities.publishing.smaller import (
    BlockUnits,
    UnequalWidths,
    narrow_config,
    remaining_rows,
    unit_counts,
    units_of_blocks,
    units_text,
)
from mlprune.counted import bytes_text
from mlprune.errors import BadInputError, PermanentError
from mlprune.json_values import JsonObject
from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.units import KeptUnits
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
from mlprune.pruning.mask_files import read_block_codes, read_coded_inputs
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
    n_bytes_of_base: int
    n_bytes_before: int
    """Of the same folder without codes."""
    n_bytes: int
    units: tuple[tuple[str, int, int], ...]
    """(`heads` or `neurons`, number in all blocks, number that remains); none if none is cut out."""
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
        self.kept = {
            (block, layer): kept
            for block, file in enumerate(files)
            for layer, kept in read_coded_inputs(store, file).items()
        }
        """(block, layer) -> [in] bool, the inputs with codes, of layers that have others: those of removed units."""
        self.of_block = lru_cache(maxsize=1)(lambda block: read_block_codes(store, files[block]))
        self.layout = next(iter(self.of_block(0).values())).layout
        if self.layout.bits not in PACKED_BITS or not self.layout.symmetric:
            raise BadInputError(
                "no engine reads the codes of this variant",
                variant_id=variant.id,
                expected="4 or 8 bits, symmetric: true",
                got=f"{self.layout.bits} bits, symmetric: {str(self.layout.symmetric).lower()}",
            )

    def removed(self) -> Iterator[tuple[tuple[int, str], Tensor]]:
        """Yield the layers that have inputs without codes, and bool [1, in], True for these."""
        return ((key, ~kept[None]) for key, kept in self.kept.items())

    def blocks(self, model_path: Path) -> list[BlockUnits]:
        """Return the heads and neurons of each block that have codes; none if all have some.

        Args:
            model_path: folder of the base model.
        """
        masks: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for (block, layer), kept in self.kept.items():
            masks[block][layer] = kept[None]
        files = WeightFiles(model_path, architecture_at(model_path))
        return units_of_blocks(files, read_json_object(model_path / "config.json"), masks) if masks else []

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the run, in which weights are dequantised."""
        return next(iter(self.of_block(0).values())).scales.dtype


def require_packable(model_path: Path, codes: StoredCodes, *, smaller: bool) -> None:
    """Check that the codes of a model can be packed, before anything is written.

    Args:
        smaller: whether heads and neurons whose inputs have no codes are cut out.
    Raises:
        BadInputError: a layer is not a linear layer with a tensor of its own, its groups do not divide its rows or are
            those of the smaller model, or no config can express the smaller model.
    """
    if codes.kept and not smaller:
        message = "this variant lacks whole heads or neurons, so that its groups are those of the smaller layers"
        raise BadInputError(message, expected="--smaller --as compressed_tensors")
    architecture, blocks = architecture_at(model_path), codes.blocks(model_path)
    narrow = narrow_config(architecture, read_json_object(model_path / "config.json"), blocks)
    if isinstance(narrow, UnequalWidths):
        raise no_plain_folder(narrow.reason)
    model, files = build_skeleton(model_path, torch.float32), WeightFiles(model_path, architecture)
    sizes: dict[tuple[int, str], int] = {}
    for block, layer in _layers(architecture):
        name = weight_name(architecture, block, layer)
        kind = model.get_submodule(name.rpartition(".")[0])
        if architecture.block(block).is_routed(layer) or not isinstance(kind, nn.Linear):
            expected = "linear layers of torch, one tensor each: no experts, no Conv1D"
            raise _cannot_pack(architecture, layer, expected=expected, got=type(kind).__name__)
        parts = files.parts(name)
        if len(parts) > 1 or not parts[0].is_whole:
            raise _cannot_pack(architecture, layer, expected="a tensor of its own", got=[part.name for part in parts])
        kept = codes.kept.get((block, layer))
        sizes[block, layer] = files.shape(name)[1] if kept is None else int(kept.sum())
    _require_whole_groups(codes.layout.group, sizes, blocks)


def no_plain_folder(reason: str) -> BadInputError:
    """Return the refusal of a smaller model whose widths no config can express."""
    message = f"the config of a folder with codes cannot express the smaller model: {reason}"
    expected = "equally many heads and neurons in every block, and a config with keys for them"
    return BadInputError(message, expected=expected, next="load it in memory with store.load, or export without --as")


def _require_whole_groups(
    group: int | None, sizes: Mapping[tuple[int, str], int], blocks: Sequence[BlockUnits]
) -> None:
    """Check that groups divide the rows of every layer.

    Args:
        sizes: (block, layer) -> inputs with codes.
        blocks: the remaining units of each block; none if all units remain.
    """
    odd = next((key for key, size in sizes.items() if group and size % group), None)
    if group is None or odd is None:
        return
    block, layer = odd
    fitting = [str(one) for one in GROUPS if not any(size % one for size in sizes.values())]
    counts = (
        [_fitting_counts(units, group) for units in blocks[block] if units.layout.output == layer] if blocks else []
    )
    raise BadInputError(
        "groups do not divide the rows of a layer, which engines do not read",
        block=block,
        layer=layer,
        expected=" or ".join((*counts, f"quantise with group {' or '.join([*fitting, 'row'])}")),
        got=f"group {group}, rows of {sizes[odd]} weights",
    )


def _fitting_counts(units: KeptUnits, group: int) -> str:
    """Return the numbers of units next to that which remains whose inputs are whole groups."""
    layout = units.layout
    step = group // gcd(group, len(layout.columns) // layout.n_units)
    below = units.n_kept // step * step
    counts = [str(count) for count in (below, below + step) if 0 < count <= layout.n_units]
    return f"{' or '.join(counts) or 'all'} of {layout.n_units} {layout.kind} in each block, multiples of {step}"


def _cannot_pack(architecture: Architecture, layer: str, **context: object) -> BadInputError:
    message = "compressed-tensors cannot express the codes of a layer"
    return BadInputError(message, {"model_type": architecture.name, "layer": layer, **context})


def _layers(architecture: Architecture) -> Iterator[tuple[int, str]]:
    for block in range(architecture.n_blocks):
        for layer in architecture.block(block).layers:
            yield block, layer


def pack_folder(folder: Path, codes: StoredCodes, *, base: Path) -> PackedModel:
    """Replace the dequantised weights of a folder by their codes, and compare what was written.

    A weight file and the codes of a block are in memory at a time.

    Args:
        folder: an export with all layers of the base model, changed in place; heads and neurons whose inputs have no
            codes are cut out of it.
        base: folder of the base model.
    Raises:
        PermanentError: the written codes do not give the weights of the variant.
    """
    architecture = architecture_at(folder)
    files = WeightFiles(folder, architecture)
    places = {key: files.locate(weight_name(architecture, *key)) for key in _layers(architecture)}
    blocks = codes.blocks(base)
    rows = remaining_rows(blocks)
    changes: dict[str, FileChanges] = defaultdict(FileChanges)
    for key, (file, name) in places.items():
        changes[file].replaced[name] = partial(_packed, codes, key, name, rows=rows.get(key))
    before = _weight_bytes(folder)
    ignore = _linear_layers_without_codes(folder, architecture)
    rewrite_files(folder, files, changes)
    for (block, layer), (file, name) in places.items():
        _compare(folder / file, name, codes.of_block(block)[layer].cut(rows.get((block, layer))))
    hashes = tensor_hashes(folder)  # before the config says that the folder is quantised
    _write_config(folder, codes, ignore=ignore)
    return PackedModel(
        codes.layout,
        len(places),
        n_bytes_of_base=_weight_bytes(base),
        n_bytes_before=before,
        n_bytes=_weight_bytes(folder),
        units=tuple(unit_counts(blocks)),
        hashes=hashes,
    )


def _packed(codes: StoredCodes, key: tuple[int, str], name: str, *, rows: Tensor | None) -> dict[str, Tensor]:
    """Return the tensors that are written instead of the weight of a (block, layer), of which some rows remain."""
    (block, layer), module = key, name.removesuffix(SUFFIX)
    of_layer = codes.of_block(block)[layer].cut(rows)
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
    smaller = f", with {units_text(packed.units)}," if packed.units else ""
    before = (
        f"{bytes_text(packed.n_bytes_before)} without codes, {bytes_text(packed.n_bytes_of_base)} for the base model"
    )
    zeros = "Other removed" if packed.units else "Removed"
    return (
        f"The weights of {packed.n_layers} layers{smaller} are codes of {packed.layout.bits} bits, {group}, in the "
        f"form pack-quantized of compressed-tensors: {bytes_text(packed.n_bytes)} in weight files ({before}). "
        "transformers needs the package compressed-tensors and unpacks the weights in memory, so that codes save "
        f"download and disk only. {zeros} weights are zeros among the codes and save nothing.\n"
    )
