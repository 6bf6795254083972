"""What a variant is, and the records that say so: from the mask files of its blocks to its rows in the catalog.

Who chooses the masks is in `prune.py`, `sweep.py` and `combine.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlprune.pruning.mask_files import fingerprint
from mlprune.pruning.spec import Reading, Schedule, Scope, ScoreSpec, settings
from mlprune.steps.job import Identity, ModelRef, make_identity
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from mlprune.vocabulary import CombinationName, InterventionName, ProfileName, PropagationName

DESCRIPTION = ("layer", "shape", "n_removed", "keep_sha256", "n_silent_features", "n_dampings")
"""Columns of a mask file that say what it holds, beside the masks themselves."""


@dataclass(frozen=True)
class VariantSpec:
    """What a variant is made of, as plain values; the dense one has sparsity 0 and nothing else."""

    identity: Identity
    model: ModelRef
    sparsity: float
    """Asked of the whole model; of a combination, what its parents were asked."""
    choice: ScoreSpec | None = None
    """None for the dense variant and for combinations."""
    propagation: PropagationName | None = None
    """None where the score reads no statistics."""
    reading: Reading | None = None
    """None where the score reads no statistics."""
    set_ids: tuple[str, ...] = ()
    contrast_set_id: str | None = None
    schedule: Schedule = field(default_factory=Schedule)
    scope: Scope = field(default_factory=Scope)
    profile: ProfileName | None = None
    combination: CombinationName | None = None
    parent_ids: tuple[str, ...] = ()
    """Variants that a combination is made from, in order."""
    shared_row: tuple[tuple[str, Any], ...] = ()
    """Columns in which all parents of a combination agree."""
    intervention: InterventionName | None = None
    """What the dense model does at run time; None for everything else."""
    details: str | None = None
    """How an intervention is set, in words."""

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.identity.id

    @property
    def structure(self) -> str | None:
        """The comparison group; of a combination that of its parents, where they agree."""
        return self.choice.structure if self.choice else dict(self.shared_row).get("structure")

    @property
    def is_dense(self) -> bool:
        """Whether this is the base model as it is."""
        return self.choice is None and self.combination is None and self.intervention is None

    @property
    def weights_changed(self) -> bool:
        """Whether weights that stay have new values."""
        return self.choice is not None and self.choice.score == "sparsegpt"


def block_identity(ordering_id: str, block: int, *, parents: dict[str, Any]) -> Identity:
    """Identity of the masks of one block of an ordering or sweep."""
    return make_identity("mask_blocks", {"ordering": ordering_id, "block": block}, parents=parents)


def mask_artefacts(record: Record) -> tuple[Artefact, ...]:
    """The mask files of a variant, ordering or block record, block after block."""
    return artefacts_below(record, "masks/")


def weight_artefacts(record: Record) -> tuple[Artefact, ...]:
    """The files of changed weights of a variant or block record, block after block; none where no weight changed."""
    return artefacts_below(record, "weights/")


def artefacts_below(record: Record, folder: str) -> tuple[Artefact, ...]:
    """The artefacts of a record in one folder of the store, in their order."""
    return tuple(artefact for artefact in record.artefacts if artefact.path.startswith(folder))


def write_variants(store: Store, ordering: Identity, blocks: Sequence[Record], variants: Sequence[VariantSpec]) -> None:
    """Write the records of an ordering and of the variants it holds, from the records of its blocks.

    A variant that another recipe's ordering made keeps its record: its masks are the same, and a record never changes.
    """
    artefacts = tuple(artefact for record in blocks for artefact in record.artefacts)
    tables = [store.read_table(mask_artefacts(record)[0], columns=DESCRIPTION) for record in blocks]
    first = variants[0]
    row = {
        "ordering_id": ordering.id,
        "base_model_id": first.model.base_model_id,
        "score": first.choice.score if first.choice else dict(first.shared_row).get("score"),
        "n_levels": len(variants),
        "n_bytes": sum(artefact.n_bytes for record in blocks for artefact in mask_artefacts(record)),
    }
    store.write_record(ordering.record(artefacts=artefacts, rows={"orderings": [row]}))
    for level, variant in enumerate(variants):
        known = store.read_record(*variant.identity.key)
        if known is not None and store.is_complete(known):
            continue
        rows = _variant_rows(variant, tables, ordering_id=ordering.id, level=level)
        store.write_record(variant.identity.record(artefacts=artefacts, rows=rows))


def _variant_rows(
    variant: VariantSpec, tables: Sequence[dict[str, list[Any]]], *, ordering_id: str, level: int
) -> dict[str, list[dict[str, Any]]]:
    """Table -> rows of one variant."""
    layers = [row for block, table in enumerate(tables) for row in _layer_rows(variant, block, table, level)]
    removed, total = (sum(row[name] for row in layers) for name in ("n_removed", "n_weights"))
    keeps = [
        (block, layer, hashes[level])
        for block, table in enumerate(tables)
        for layer, hashes in zip(table["layer"], table["keep_sha256"], strict=True)
    ]
    row = variant_row(variant, achieved=removed / total)
    row |= {"ordering_id": ordering_id, "level": level, "mask_sha256": fingerprint(keeps)}
    rows = {
        "variants": [row],
        "variant_layers": layers,
        "variant_demonstrations": _demonstration_rows(variant),
        "variant_parents": [
            {"variant_id": variant.id, "parent_variant_id": parent, "role": f"parent {place}"}
            for place, parent in enumerate(variant.parent_ids, start=1)
        ],
    }
    return {table: found for table, found in rows.items() if found}


def _layer_rows(variant: VariantSpec, block: int, table: dict[str, list[Any]], level: int) -> list[dict[str, Any]]:
    """How many weights the variant lost in each layer of a block."""
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


def _demonstration_rows(variant: VariantSpec) -> list[dict[str, Any]]:
    """The sets a variant's score read, with their roles and weights."""
    shares = variant.reading.shares if variant.reading and variant.reading.shares else (1.0,) * len(variant.set_ids)
    total = sum(shares)
    links = [(set_id, "demonstrations", share / total) for set_id, share in zip(variant.set_ids, shares, strict=True)]
    if variant.contrast_set_id:
        links.append((variant.contrast_set_id, "contrast", 1.0))
    return [
        {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
        for set_id, role, weight in links
    ]


def variant_row(variant: VariantSpec, *, achieved: float) -> dict[str, Any]:
    """The catalog row of a variant."""
    choice, reading = variant.choice, variant.reading
    row: dict[str, Any] = {
        "variant_id": variant.id,
        "base_model_id": variant.model.base_model_id,
        "demonstration_set_id": variant.set_ids[0] if len(variant.set_ids) == 1 else None,
        "contrast_set_id": variant.contrast_set_id,
        "score": choice.score if choice else None,
        "structure": choice.structure if choice else None,
        "propagation": variant.propagation,
        "sparsity": achieved if variant.combination else variant.sparsity,
        "achieved_sparsity": achieved,
        "weights_changed": variant.weights_changed,
        "intervention": variant.intervention,
        "seed": choice.seed if choice else None,
        "ordering_id": None,
        "level": None,
        "removes": choice.removes if choice else None,
        "schedule": variant.schedule.kind if choice else None,
        "scope": variant.scope.words if choice else None,
        "profile": variant.profile,
        "token_scope": reading.token_scope if reading else None,
        "aggregation": reading.aggregation if reading else None,
        "n_demonstrations": reading.first if reading else None,
        "resample_seed": reading.resample_seed if reading else None,
        "combination": variant.combination,
        "mask_sha256": None,
        "details": "; ".join(settings(choice, variant.schedule, reading)) or None if choice else variant.details,
    }
    return {**row, **dict(variant.shared_row)}
