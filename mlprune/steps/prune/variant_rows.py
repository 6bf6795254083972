"""Records of variants and orderings, with their rows in the catalog."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlprune.json_values import JsonObject, JsonValue
from mlprune.pruning.mask_files import fingerprint
from mlprune.pruning.spec import ScheduleSpec
from mlprune.steps.job import Identity
from mlprune.steps.neurons.variant import NeuronVariant
from mlprune.steps.prune.stored_masks import mask_artefacts
from mlprune.steps.prune.variant import (
    CombinedVariant,
    QuantisedVariant,
    ScoredVariant,
    VariantSpec,
)
from mlprune.steps.quantise.rows import quantised_columns
from mlprune.store.records import Record
from mlprune.store.store import Store

Row = dict[str, JsonValue]

DESCRIPTION = ("layer", "shape", "n_removed", "keep_sha256", "n_silent_features", "n_dampings")
"""Columns of a mask file that describe the masks."""

COLUMNS = (
    "demonstration_set_id",
    "contrast_set_id",
    "score",
    "score_parameters",
    "structure",
    "propagation",
    "intervention",
    "intervention_parameters",
    "seed",
    "removes",
    "schedule",
    "schedule_parameters",
    "scope",
    "profile",
    "token_scope",
    "aggregation",
    "aggregation_parameters",
    "n_demonstrations",
    "resample_seed",
    "combination",
    "mask_sha256",
)
"""Columns of `variants` that not every kind of variant has."""


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
        "variant_demonstrations": _demonstration_rows(variant),
        "variant_parents": _parent_rows(variant),
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


def _demonstration_rows(variant: VariantSpec) -> list[Row]:
    """Return the sets that a variant's score read, with their roles and weights."""
    if isinstance(variant, NeuronVariant):
        link: Row = {"variant_id": variant.id, "role": "neurons", "weight": 1.0}
        return [{**link, "demonstration_set_id": set_id} for set_id in variant.set_ids]
    if not isinstance(variant, ScoredVariant) or variant.calibration is None:
        return []
    calibration = variant.calibration
    shares = calibration.selection.shares or (1.0,) * len(calibration.set_ids)
    total = sum(shares)
    links = [
        (set_id, "demonstrations", share / total) for set_id, share in zip(calibration.set_ids, shares, strict=True)
    ]
    if calibration.contrast_set_id:
        links.append((calibration.contrast_set_id, "contrast", 1.0))
    return [
        {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
        for set_id, role, weight in links
    ]


def _parent_rows(variant: VariantSpec) -> list[Row]:
    if not isinstance(variant, CombinedVariant):
        return []
    return [
        {"variant_id": variant.id, "parent_variant_id": parent, "role": f"parent {number}"}
        for number, parent in enumerate(variant.parent_ids, start=1)
    ]


def variant_row(variant: VariantSpec, *, achieved: float) -> Row:
    """Return the catalog row of a variant.

    Args:
        achieved: share of the weights that is removed.
    """
    row: Row = {
        "variant_id": variant.id,
        "base_model_id": variant.model.base_model_id,
        "sparsity": variant.sparsity,
        "achieved_sparsity": achieved,
        "weights_changed": variant.weights_changed,
        **dict.fromkeys(COLUMNS),
    }
    if isinstance(variant, ScoredVariant):
        return row | _scored_columns(variant)
    if isinstance(variant, QuantisedVariant):
        return variant_row(variant.parent, achieved=achieved) | quantised_columns(variant.id, variant.quantisation)
    return {**row, **variant.own_columns(achieved=achieved)}


def _scored_columns(variant: ScoredVariant) -> Row:
    score = {name: value for name, value in _nested(variant.score.parameters, "score_parameters") if name != "seed"}
    score |= {"permute": True} if variant.score.permute else {}
    columns: Row = {
        "score": variant.score.score,
        "score_parameters": score or None,
        "structure": variant.score.structure,
        "seed": variant.score.seed,
        "removes": variant.score.removes,
        "schedule": variant.schedule.kind,
        "schedule_parameters": _schedule_parameters(variant.schedule) or None,
        "scope": variant.scope.parameters or None,
        "profile": variant.profile,
        **_refiner_columns(variant),
        **({"plugins": variant.plugins} if variant.plugins else {}),
    }
    if variant.calibration is None:
        return columns
    calibration, selection = variant.calibration, variant.calibration.selection
    return columns | {
        "demonstration_set_id": calibration.set_ids[0] if len(calibration.set_ids) == 1 else None,
        "contrast_set_id": calibration.contrast_set_id,
        "propagation": calibration.propagation,
        "token_scope": selection.token_scope,
        "aggregation": selection.aggregation,
        "aggregation_parameters": dict(_nested(selection.parameters, "aggregation_parameters")) or None,
        "n_demonstrations": selection.n_demonstrations,
        "resample_seed": selection.resample_seed,
    }


def _refiner_columns(variant: ScoredVariant) -> Row:
    """Return the columns of a refined variant; other rows do not have them, so that their records keep their bytes."""
    if variant.refinement is None:
        return {}
    parameters = variant.refinement.parameters
    return {
        "refiner": variant.refinement.refiner,
        "refiner_parameters": dict(_nested(parameters, "refiner_parameters")) or None,
    }


def _schedule_parameters(schedule: ScheduleSpec) -> JsonObject:
    losses: JsonObject = {} if schedule.losses is None else {"losses": schedule.losses}
    return {**dict(_nested(schedule.parameters, "schedule_parameters")), **losses}


def _nested(parameters: JsonObject, name: str) -> Iterator[tuple[str, JsonValue]]:
    """Yield the items of an object among some parameters."""
    value = parameters.get(name)
    if isinstance(value, Mapping):
        yield from value.items()
