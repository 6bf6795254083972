"""Make an exported folder smaller: cut out the heads and neurons whose outputs a variant removes completely.

Other removed weights stay zeros. If all blocks keep equal numbers and the config has keys for them, the folder is a
plain Hugging Face folder. Otherwise it gets `load_smaller.py`, which loads it with torch and transformers.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.weight_files import WeightFiles, read_json_object, weight_name
from mlprune.models.families.records import Family
from mlprune.models.families.units import unit_layouts
from mlprune.models.smaller import load_smaller
from mlprune.models.smaller.kept_units import BlockUnits, kept_units
from mlprune.models.smaller.narrow_config import UnequalWidths, loader_changes, narrow_config
from mlprune.models.smaller.narrow_files import narrow_files

LOADER, CHANGES = "load_smaller.py", "smaller.json"
"""Files of a folder that no config can express: the loader, and what it sets."""


@dataclass(frozen=True)
class SmallerModel:
    """Sizes of a smaller model, and how it is loaded."""

    units: tuple[tuple[str, int, int], ...]
    """(`heads` or `neurons`, number in all blocks, number that remains)."""
    needs_loader: str | None
    """Why the folder needs its own loader; None for a plain Hugging Face folder."""


def make_smaller(folder: Path, family: Family, removed: Iterable[tuple[tuple[int, str], Tensor]]) -> SmallerModel:
    """Cut removed heads and neurons out of a folder in which removed weights are zero.

    Args:
        folder: an exported folder, changed in place.
        removed: (block, layer) and bool [out, in], True for removed weights.
    Raises:
        BadInputError: no head or neuron is removed as a whole.
    """
    config = read_json_object(folder / "config.json")
    outputs = {family.inputs[1][0], family.feed_forward[1]}
    masks: dict[int, dict[str, Tensor]] = {}
    for (block, layer), weights in removed:
        if layer in outputs:
            masks.setdefault(block, {})[layer] = ~weights
    files = WeightFiles(folder, family)
    blocks = [
        _block_units(files, family, config, block, masks.get(block, {})) for block in range(_n_blocks(files, family))
    ]
    counts = tuple(_counts(blocks))
    if all(n_kept == n_units for _, n_units, n_kept in counts):
        message = "no head or neuron is removed as a whole: export without --smaller"
        raise BadInputError(message, expected="all columns of a head or neuron removed")
    narrow = narrow_config(family, config, blocks)
    narrowed = narrow_files(folder, family, blocks)
    if not isinstance(narrow, UnequalWidths):
        _write_json(folder / "config.json", narrow)
        return SmallerModel(counts, None)
    shutil.copyfile(str(load_smaller.__file__), folder / LOADER)
    changes: JsonObject = {**loader_changes(family, config, blocks), "narrowed": dict(narrowed)}
    _write_json(folder / CHANGES, changes)
    return SmallerModel(counts, narrow.reason)


def smaller_text(model: SmallerModel) -> str:
    """Return the section of a model card about a smaller model."""
    sizes = " and ".join(f"{n_kept} of {n_units} {kind}" for kind, n_units, n_kept in model.units)
    text = f"Removed heads and neurons are cut out of the weights; {sizes} remain. Other removed weights are zeros.\n"
    if model.needs_loader is None:
        return text
    return (
        f"{text}\nThe config cannot express these widths ({model.needs_loader}), so the folder has its own loader:\n\n"
        f'```python\nfrom load_smaller import load\n\nmodel = load(".")\n```\n'
    )


def _n_blocks(files: WeightFiles, family: Family) -> int:
    block = 0
    while files.has(weight_name(family, block, family.layers[0])):
        block += 1
    return block


def _block_units(
    files: WeightFiles, family: Family, config: JsonObject, block: int, masks: Mapping[str, Tensor]
) -> BlockUnits:
    return kept_units(unit_layouts(family, files.layer_shapes(block), config), masks)


def _counts(blocks: Sequence[BlockUnits]) -> Iterable[tuple[str, int, int]]:
    for kind in ("heads", "neurons"):
        units = [unit for block in blocks for unit in block if unit.layout.kind == kind]
        if units:
            yield kind, sum(unit.layout.n_units for unit in units), sum(unit.n_kept for unit in units)


def _write_json(path: Path, value: JsonObject) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
