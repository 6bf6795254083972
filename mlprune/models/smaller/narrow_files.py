"""Cut removed heads and neurons out of the weight files of a model folder, one file at a time."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mlprune.models.checkpoint.weight_files import INDEX_FILE, WeightFiles, bias_name, read_json_object, weight_name
from mlprune.models.families.checks import oriented
from mlprune.models.families.records import Family
from mlprune.models.smaller.kept_units import BlockUnits, LayerSlice

Slices = Mapping[str, tuple[LayerSlice, bool]]
"""Name of a tensor in its file -> what remains of its layer, and whether it is a bias."""


def narrow_files(folder: Path, family: Family, blocks: Sequence[BlockUnits]) -> dict[str, str]:
    """Rewrite the weight files of a folder without removed units. A file is in memory while it is rewritten.

    Returns: name of each narrowed tensor in the model -> its file and its name in it, separated by a colon.
    """
    files = WeightFiles(folder, family)
    by_file: dict[str, dict[str, tuple[LayerSlice, bool]]] = defaultdict(dict)
    places: dict[str, str] = {}
    for block, units_of_block in enumerate(blocks):
        slices = [item for units in units_of_block for item in units.slices.items()]
        for layer, of_layer in slices:
            weight = weight_name(family, block, layer)
            for name, is_bias in ((weight, False), (bias_name(family, block, layer), True)):
                if files.has(name) and not (is_bias and of_layer.rows is None):
                    file, stored = files.locate(name)
                    by_file[file][stored] = of_layer, is_bias
                    places[name] = f"{file}:{stored}"
    for file, of_file in by_file.items():
        _narrow_file(folder / file, of_file, family)
    _update_index(folder)
    return places


def _narrow_file(file: Path, slices: Slices, family: Family) -> None:
    with safe_open(str(file), framework="pt") as opened:
        metadata = opened.metadata()
        tensors = {name: _narrowed(opened.get_tensor(name), slices.get(name), family) for name in sorted(opened.keys())}
    save_file(tensors, file, metadata=metadata)


def _narrowed(tensor: Tensor, of_layer: tuple[LayerSlice, bool] | None, family: Family) -> Tensor:
    if of_layer is None:
        return tensor.clone()  # the file is about to be replaced
    remaining, is_bias = of_layer
    if is_bias:
        return remaining.of_bias(tensor).contiguous()
    return oriented(remaining.of_weight(oriented(tensor, family)), family).contiguous()


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
