"""Config of a smaller model, or the attributes that its own loader sets where no config can express the widths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.families.records import Family
from mlprune.models.families.units import HEAD_KEYS, n_attention_heads
from mlprune.models.smaller.kept_units import BlockUnits, KeptUnits


@dataclass(frozen=True)
class UnequalWidths:
    """Why a config cannot express the widths of a model."""

    reason: str


def narrow_config(family: Family, config: JsonObject, blocks: Sequence[BlockUnits]) -> JsonObject | UnequalWidths:
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
        key = family.head_width_key if kind == "heads" else family.neurons_key
        if key is None:
            return UnequalWidths(f"the config of a {family.name} has no key for fewer {kind}")
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


def loader_changes(family: Family, config: JsonObject, blocks: Sequence[BlockUnits]) -> dict[str, JsonValue]:
    """Return what `load_smaller.py` sets in the modules of a model: attributes, and kept heads of position biases."""
    n_heads = n_attention_heads(config)
    attributes: dict[str, JsonValue] = {}
    alibi_heads: dict[str, JsonValue] = {}
    for block, units_of_block in enumerate(blocks):
        for units in units_of_block:
            if units.layout.kind != "heads" or units.n_kept == units.layout.n_units:
                continue
            n_kept = units.n_kept * n_heads // units.layout.n_units
            width = n_kept * (units.layout.columns.numel() // n_heads)
            values: Mapping[str, int] = {"heads": n_kept, "groups": units.n_kept, "width": width}
            prefix = f"{family.blocks}.{block}"
            attributes |= {f"{prefix}.{path}": values[content] for path, content in family.head_attributes}
            if family.alibi is not None:
                alibi_heads[f"{prefix}.{family.alibi}"] = list(units.indices)
    return {"attributes": attributes, "alibi_heads": alibi_heads, "n_heads": n_heads}
