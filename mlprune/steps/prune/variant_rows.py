"""Records of variants and orderings, with their rows in the catalog."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlprune.json_values import JsonObject, JsonValue
from mlprune.pruning.mask_files import fingerprint
from mlprune.steps.job import Identity
from mlprune.steps.prune.stored_masks import mask_artefacts
from mlprune.steps.prune.variant import VariantSpec, variant_row
from mlprune.store.records import Record
from mlprune.store.store import Store

Row = dict[str, JsonValue]

DESCRIPTION = ("layer", "shape", "n_removed", "keep_sha256", "n_silent_features", "n_dampings")
"""Columns of a mask file that describe the masks."""


def write_variants(
    store: Store,
    ordering: Identity,
    blocks: Sequence[Record],
    variants: Sequence[VariantSpec],
    *,
    columns: JsonObject | None = None,
    rows: Mapping[str, Sequence[Row]] | None = None,
) -> None:
    """Write the records of an ordering and of its variants, from the records of its blocks.

    The record of a variant does not depend on the ordering: two recipes whose orderings contain the same variant write
    the same bytes, in whatever order they run.

    Args:
        columns: further columns of the variants.
        rows: further tables of the variants.
    """
    artefacts = tuple(artefact for record in blocks for artefact in record.artefacts)
    tables = [store.read_table(mask_artefacts(record)[0], columns=DESCRIPTION) for record in blocks]
    row: Row = {
        "ordering_id": ordering.id,
        "base_model_id": variants[0].model.base_model_id,
        "score": variant_row(variants[0], achieved=0.0)["score"],
        "n_levels": len(variants),
        "n_bytes": sum(artefact.n_bytes for record in blocks for artefact in mask_artefacts(record)),
    }
    links: list[Row] = [
        {"ordering_id": ordering.id, "variant_id": variant.id, "level": level} for level, variant in enumerate(variants)
    ]
    store.write_record(ordering.record(artefacts=artefacts, rows={"orderings": [row], "ordering_variants": links}))
    for level, variant in enumerate(variants):
        of_variant = masked_variant_rows(variant, tables, level=level)
        of_variant["variants"][0] |= columns or {}
        store.write_record(variant.identity.record(rows={**of_variant, **(rows or {})}))


def masked_variant_rows(
    variant: VariantSpec, tables: Sequence[Mapping[str, list[Any]]], *, level: int
) -> dict[str, list[Row]]:
    """Return table -> rows of one variant with masks.

    Args:
        tables: per block, the columns `DESCRIPTION` of a mask file.
        level: index of the variant's sparsity in them.
    """
    layers = [row for block, table in enumerate(tables) for row in _layer_rows(variant, block, table, level)]
    n_weights = sum(int(shape[0]) * int(shape[1]) for table in tables for shape in table["shape"])
    n_removed = sum(int(counts[level]) for table in tables for counts in table["n_removed"])
    keeps = [
        (block, layer, hashes[level])
        for block, table in enumerate(tables)
        for layer, hashes in zip(table["layer"], table["keep_sha256"], strict=True)
    ]
    row = variant_row(variant, achieved=n_removed / n_weights) | {"mask_sha256": fingerprint(keeps)}
    rows: dict[str, list[Row]] = {
        "variants": [row],
        "variant_layers": layers,
        "variant_demonstrations": [
            {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
            for set_id, role, weight in variant.set_links()
        ],
        "variant_parents": [
            {"variant_id": variant.id, "parent_variant_id": parent, "role": role}
            for parent, role in variant.parent_links
        ],
    }
    return {table: values for table, values in rows.items() if values}


def _layer_rows(variant: VariantSpec, block: int, table: Mapping[str, list[Any]], level: int) -> list[Row]:
    """Return the number of removed weights of a variant in each layer of a block."""
    columns = (table["layer"], table["shape"], table["n_removed"], table["n_silent_features"], table["n_dampings"])
    return [
        {
            "variant_id": variant.id,
            "block": block,
            "layer": layer,
            "n_weights": int(shape[0]) * int(shape[1]),
            "n_removed": int(n_removed[level]),
            "n_silent_features": int(n_silent),
            "n_dampings": None if n_dampings is None else int(n_dampings),
        }
        for layer, shape, n_removed, n_silent, n_dampings in zip(*columns, strict=True)
    ]
