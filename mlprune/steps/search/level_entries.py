"""The sparsity and schedule of a variant entry whose layers have given levels."""

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from mlprune.json_values import JsonValue

Key = TypeVar("Key", bound=Hashable)
Layer = tuple[int, str]
"""(block, layer)."""


def level_keys(levels: Mapping[Layer, float], *, sparsity: float) -> dict[str, JsonValue]:
    """Return the keys `sparsity` and `schedule` of the entry in which every pruned layer has its level.

    The form depends on the levels alone, so searches over blocks and over single layers share their trials: uniform if
    all layers agree, otherwise `blocks` if the layers of every block agree, otherwise `layers` if every layer has the
    same level in all its blocks, otherwise `block_layers`. Levels equal to the sparsity are left out.

    Args:
        levels: level of every layer in the scope.
        sparsity: of the variant if its layers differ.
    """
    distinct = set(levels.values())
    if len(distinct) == 1:
        return {"sparsity": distinct.pop()}
    schedule: dict[str, JsonValue] = {}
    by_block = _shared((block, level) for (block, _), level in levels.items())
    by_layer = _shared((layer, level) for (_, layer), level in levels.items())
    if by_block is not None:
        schedule["blocks"] = {str(block): level for block, level in by_block.items() if level != sparsity}
    elif by_layer is not None:
        schedule["layers"] = {layer: level for layer, level in by_layer.items() if level != sparsity}
    else:
        schedule["block_layers"] = {
            f"{block}.{layer}": level for (block, layer), level in levels.items() if level != sparsity
        }
    return {"sparsity": sparsity, "schedule": schedule}


def _shared(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float] | None:
    """Return the level of each key; None if a key has several."""
    shared: dict[Key, float] = {}
    for key, level in pairs:
        if shared.setdefault(key, level) != level:
            return None
    return shared
