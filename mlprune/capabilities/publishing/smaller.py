"""Smaller models: kept heads and neurons, a narrower config, and narrower weight files."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from mlprune.json_values import JsonObject, JsonValue, as_list
from mlprune.models.architecture.architecture import Architecture, BlockArchitecture, oriented
from mlprune.models.architecture.units import (
    HEAD_KEYS,
    KeptUnits,
    LayerSlice,
    UnitLayout,
    n_attention_heads,
    unit_layouts,
)
from mlprune.models.checkpoint.rewritten_files import write_tensors
from mlprune.models.checkpoint.weight_files import INDEX_FILE, WeightFiles, bias_name, read_json_object, weight_name
from mlprune.store.records import Record

Slices = Mapping[str, tuple[LayerSlice, bool, BlockArchitecture]]
"""Name of a tensor in its file -> what remains of its layer, whether it is a bias, and the block that it belongs to."""
BlockUnits = Sequence[KeptUnits]
"""The units of a block: heads (unless single heads cannot be removed), and neurons."""


def kept_units(layouts: Sequence[UnitLayout], masks: Mapping[str, Tensor]) -> BlockUnits:
    """Return the units that remain: those of whose outputs a mask keeps a weight. One unit of each kind always remains.

    Args:
        layouts: of the block.
        masks: layer -> keep mask [out, in], or [1, in] for all rows; a layer without a mask keeps all weights.
    """
    units = []
    for layout in layouts:
        mask = masks.get(layout.output)
        is_kept = torch.ones(layout.n_units, dtype=torch.bool) if mask is None else layout.kept_by(mask)
        units.append(KeptUnits(layout, is_kept))
    return tuple(units)


def passed_blocks(variant: Record, architecture: Architecture) -> tuple[int, ...]:
    """Return the blocks that hidden states pass unchanged because a variant lacks all their sub-layers, ascending."""
    removed = {str(name) for name in as_list(variant.rows["variants"][0].get("removed_sublayers") or [])}
    kinds = enumerate(map(architecture.block, range(architecture.n_blocks)))
    return tuple(
        block
        for block, kind in kinds
        if kind.only_adds and kind.sublayers and removed.issuperset(f"{block}.{one.kind}" for one in kind.sublayers)
    )


def units_of_blocks(
    files: WeightFiles, config: JsonObject, masks: Mapping[int, Mapping[str, Tensor]]
) -> list[BlockUnits]:
    """Return the units that remain of each block of a folder.

    Args:
        config: of the folder.
        masks: block -> its masks, as `kept_units` reads them.
    """
    kinds = map(files.architecture.block, range(files.architecture.n_blocks))
    return [
        kept_units(unit_layouts(kind, files.layer_shapes(block), config), masks.get(block, {}))
        for block, kind in enumerate(kinds)
    ]


def unit_counts(blocks: Sequence[BlockUnits]) -> Iterator[tuple[str, int, int]]:
    """Yield (`heads` or `neurons`, number in all blocks, number that remains), for kinds that there are."""
    for kind in ("heads", "neurons"):
        units = [unit for block in blocks for unit in block if unit.layout.kind == kind]
        if units:
            yield kind, sum(unit.layout.n_units for unit in units), sum(unit.n_kept for unit in units)


def units_text(counts: Iterable[tuple[str, int, int]]) -> str:
    """Return how many units of each kind remain."""
    return " and ".join(f"{n_kept} of {n_units} {kind}" for kind, n_units, n_kept in counts)


def remaining_rows(blocks: Sequence[BlockUnits]) -> dict[tuple[int, str], Tensor]:
    """Return (block, layer) -> [n] int64, the rows that remain of layers that lose some."""
    slices = (
        ((block, layer), of_layer.rows)
        for block, units_of_block in enumerate(blocks)
        for units in units_of_block
        for layer, of_layer in units.slices.items()
    )
    return {key: rows for key, rows in slices if rows is not None}


@dataclass(frozen=True)
class UnequalWidths:
    """Why a config cannot express the widths of a model."""

    reason: str


def narrow_config(
    architecture: Architecture, config: JsonObject, blocks: Sequence[BlockUnits]
) -> JsonObject | UnequalWidths:
    """Return the config of the smaller model, or why there is none.

    Args:
        config: of the base model.
        blocks: the units of all blocks that remain.
    """
    changed: dict[str, JsonValue] = {}
    for kind in ("heads", "neurons"):
        units = [unit for block in blocks for unit in block if unit.layout.kind == kind]
        if all(unit.n_kept == unit.layout.n_units for unit in units):
            continue
        counts = sorted({unit.n_kept for unit in units})
        if len(counts) > 1:
            return UnequalWidths(f"blocks keep {counts[0]} to {counts[-1]} {kind}")
        key = architecture.head_width_key if kind == "heads" else architecture.neurons_key
        if key is None:
            return UnequalWidths(f"the config of a {architecture.name} has no key for fewer {kind}")
        changed |= {key: counts[0]} if kind == "neurons" else _head_values(units[0], config, key)
    return {**config, **changed}


def _head_values(units: KeptUnits, config: JsonObject, width_key: str) -> dict[str, JsonValue]:
    """Return the keys of a config for its heads."""
    n_heads = n_attention_heads(config)
    n_queries = n_heads // units.layout.n_units
    heads_key = next(key for key in HEAD_KEYS if key in config)
    return {
        heads_key: n_queries * units.n_kept,
        "num_key_value_heads": units.n_kept,
        width_key: units.layout.columns.numel() // n_heads,
    }


def loader_changes(
    architecture: Architecture, config: JsonObject, blocks: Sequence[BlockUnits]
) -> dict[str, JsonValue]:
    """Return what `load_smaller.py` sets in the modules of a model: attributes, and kept heads of position biases."""
    has_heads = any(units.layout.kind == "heads" for units_of_block in blocks for units in units_of_block)
    n_heads = n_attention_heads(config) if has_heads else 0
    attributes: dict[str, JsonValue] = {}
    alibi_heads: dict[str, JsonValue] = {}
    for block, units_of_block in enumerate(blocks):
        for units in units_of_block:
            if units.layout.kind != "heads" or units.n_kept == units.layout.n_units:
                continue
            n_kept = units.n_kept * n_heads // units.layout.n_units
            width = n_kept * (units.layout.columns.numel() // n_heads)
            values: Mapping[str, int] = {"heads": n_kept, "groups": units.n_kept, "width": width}
            prefix = f"{architecture.blocks}.{block}"
            attributes |= {f"{prefix}.{path}": values[content] for path, content in architecture.head_attributes}
            if architecture.alibi is not None:
                alibi_heads[f"{prefix}.{architecture.alibi}"] = list(units.indices)
    return {"attributes": attributes, "alibi_heads": alibi_heads, "n_heads": n_heads}


def narrow_files(folder: Path, architecture: Architecture, blocks: Sequence[BlockUnits]) -> dict[str, str]:
    """Rewrite the weight files of a folder without removed units. A file is in memory while it is rewritten.

    Returns: name of each narrowed tensor in the model -> its file and its name in it, separated by a colon.
    """
    files = WeightFiles(folder, architecture)
    by_file: dict[str, dict[str, tuple[LayerSlice, bool, BlockArchitecture]]] = defaultdict(dict)
    places: dict[str, str] = {}
    for block, units_of_block in enumerate(blocks):
        slices = [item for units in units_of_block for item in units.slices.items()]
        for layer, of_layer in slices:
            weight = weight_name(architecture, block, layer)
            for name, is_bias in ((weight, False), (bias_name(architecture, block, layer), True)):
                if files.has(name) and not (is_bias and of_layer.rows is None):
                    file, stored = files.locate(name)
                    by_file[file][stored] = of_layer, is_bias, architecture.block(block)
                    places[name] = f"{file}:{stored}"
    for file, of_file in by_file.items():
        _narrow_file(folder / file, of_file)
    _update_index(folder)
    return places


def _narrow_file(file: Path, slices: Slices) -> None:
    with safe_open(str(file), framework="pt") as opened:
        tensors = {name: _narrowed(opened.get_tensor(name), slices.get(name)) for name in sorted(opened.keys())}
    write_tensors(tensors, file)


def _narrowed(tensor: Tensor, of_layer: tuple[LayerSlice, bool, BlockArchitecture] | None) -> Tensor:
    if of_layer is None:
        return tensor.clone()  # the file is about to be replaced
    remaining, is_bias, block = of_layer
    if is_bias:
        return remaining.of_bias(tensor).contiguous()
    return oriented(remaining.of_weight(oriented(tensor, block)), block).contiguous()


def _update_index(folder: Path) -> None:
    """Write the number of bytes of the tensors into the index, if there is one."""
    if not (folder / INDEX_FILE).exists():
        return
    index = dict(read_json_object(folder / INDEX_FILE))
    names = index["weight_map"]
    assert isinstance(names, dict), "the index was read before"
    n_bytes = 0
    for file in sorted({str(name) for name in names.values()}):
        with safe_open(str(folder / file), framework="pt") as opened:
            n_bytes += sum(opened.get_tensor(name).nbytes for name in opened.keys())  # noqa: SIM118 - not a mapping
    metadata = index.get("metadata")
    index["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "total_size": n_bytes}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
