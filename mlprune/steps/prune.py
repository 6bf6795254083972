"""Step `prune`, dense propagation: stored statistics -> orderings, one block a job -> variants.

One ordering serves all sparsities of its recipe. Sequential propagation is in `sweep.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mlprune.models.families import FAMILIES
from mlprune.models.loading import read_block
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.pruning.scoring import BlockStatistics, ScoreChoice, block_levels
from mlprune.records import Artefact, Record
from mlprune.steps.jobs import ChainLoader, Identity, Job, ModelRef, RecordKey, identified
from mlprune.steps.statistics_files import read_block_statistics
from mlprune.storage import Store


@dataclass(frozen=True)
class VariantSpec:
    """What a variant is made of, as plain values; the dense one has sparsity 0 and nothing else."""

    identity: Identity
    model: ModelRef
    sparsity: float
    choice: ScoreChoice | None = None
    propagation: str | None = None
    """None where the score reads no statistics."""
    demonstration_set_id: str | None = None
    contrast_set_id: str | None = None

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.identity.id


@dataclass(frozen=True)
class OrderBlockJob(Job):
    """Score and order one block for all sparsities of an ordering."""

    step: ClassVar[str] = "prune"
    identity: Identity
    model: ModelRef
    ordering_id: str
    block: int
    choice: ScoreChoice
    sparsities: tuple[float, ...]
    statistics_id: str | None = None
    contrast_id: str | None = None
    """Statistics of the demonstration and of the contrast set; None where the score reads none."""

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The block's masks."""
        return (self.identity.key,)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics."""
        return tuple(("statistics", one) for one in (self.statistics_id, self.contrast_id) if one)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Read this block's tensors and statistics and nothing else."""
        found = block_levels(
            read_block(Path(self.model.path), self.block, dtype=self.model.dtype),
            choice=self.choice,
            sparsities=self.sparsities,
            block=self.block,
            family=FAMILIES[self.model.family],
            statistics=self._statistics(store, self.statistics_id),
            contrast=self._statistics(store, self.contrast_id),
        )
        path = mask_path(self.ordering_id, self.block)
        artefact = write_block_masks(store, path, found, sparsities=self.sparsities)
        store.write_record(self.identity.record(artefacts=(artefact,)))

    def _statistics(self, store: Store, statistics_id: str | None) -> BlockStatistics | None:
        if statistics_id is None:
            return None
        return read_block_statistics(store, store.require("statistics", statistics_id), self.block)


@dataclass(frozen=True)
class CollectVariantsJob(Job):
    """Make the variants of an ordering out of its blocks' masks."""

    step: ClassVar[str] = "prune"
    ordering: Identity
    blocks: tuple[str, ...]
    """Ids of the blocks' mask records."""
    variants: tuple[VariantSpec, ...]
    """One for each sparsity of the ordering, ascending."""

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering and the variants."""
        return (self.ordering.key, *(variant.identity.key for variant in self.variants))

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """All blocks."""
        return tuple(("mask_blocks", block) for block in self.blocks)

    @property
    def shared(self) -> tuple[RecordKey, ...]:
        """The variants: an ordering of other sparsities gives them the same masks."""
        return tuple(variant.identity.key for variant in self.variants)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the records; the masks lie there already."""
        records = [store.require("mask_blocks", block) for block in self.blocks]
        write_variants(store, self.ordering, records, self.variants)


@dataclass(frozen=True)
class DenseVariantJob(Job):
    """Record the base model and its dense variant, the baseline of everything."""

    step: ClassVar[str] = "prune"
    base: Identity
    row: tuple[tuple[str, Any], ...]
    """The base model's catalog row."""
    variant: VariantSpec

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The base model and the dense variant."""
        return (self.base.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Nothing."""
        return ()

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write both records."""
        store.write_record(self.base.record(rows={"base_models": [dict(self.row)]}))
        rows = {"variants": [variant_row(self.variant, achieved=0.0)]}
        store.write_record(self.variant.identity.record(rows=rows))


def mask_artefacts(record: Record) -> tuple[Artefact, ...]:
    """The mask files of a variant, ordering or block record, block after block."""
    return tuple(artefact for artefact in record.artefacts if artefact.path.startswith("masks/"))


def write_variants(store: Store, ordering: Identity, blocks: Sequence[Record], variants: Sequence[VariantSpec]) -> None:
    """Write the records of an ordering and of the variants it holds, from the records of its blocks.

    A variant that another recipe's ordering made keeps its record: its masks are the same, and a record never changes.
    """
    artefacts = tuple(artefact for record in blocks for artefact in record.artefacts)
    tables = [store.read_table(mask_artefacts(record)[0]) for record in blocks]
    first = variants[0]
    row = {
        "ordering_id": ordering.id,
        "base_model_id": first.model.base_model_id,
        "score": first.choice.score if first.choice else None,
        "n_levels": len(variants),
        "n_bytes": sum(artefact.n_bytes for record in blocks for artefact in mask_artefacts(record)),
    }
    store.write_record(ordering.record(artefacts=artefacts, rows={"orderings": [row]}))
    for level, variant in enumerate(variants):
        known = store.read_record(*variant.identity.key)
        if known is not None and store.is_complete(known):
            continue
        layers = [row for block, table in enumerate(tables) for row in _layer_rows(variant, block, table, level)]
        removed, total = (sum(row[name] for row in layers) for name in ("n_removed", "n_weights"))
        place = {"ordering_id": ordering.id, "level": level}
        rows = {
            "variants": [variant_row(variant, achieved=removed / total, **place)],
            "variant_layers": layers,
            "variant_demonstrations": _demonstration_rows(variant),
        }
        store.write_record(variant.identity.record(artefacts=artefacts, rows=rows))


def _layer_rows(variant: VariantSpec, block: int, table: dict[str, list[Any]], level: int) -> list[dict[str, Any]]:
    """How many weights the variant lost in each layer of a block."""
    columns = (table["layer"], table["shape"], table["n_removed"], table["n_silent_features"])
    return [
        {
            "variant_id": variant.id,
            "block": block,
            "layer": layer,
            "n_weights": int(shape[0]) * int(shape[1]),
            "n_removed": int(n_removed[level]),
            "n_silent_features": int(n_silent),
        }
        for layer, shape, n_removed, n_silent in zip(*columns, strict=True)
    ]


def _demonstration_rows(variant: VariantSpec) -> list[dict[str, Any]]:
    """The sets a variant's score read, with their roles."""
    roles = {"demonstrations": variant.demonstration_set_id, "contrast": variant.contrast_set_id}
    return [
        {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": 1.0}
        for role, set_id in roles.items()
        if set_id
    ]


def variant_row(variant: VariantSpec, *, achieved: float, **place: Any) -> dict[str, Any]:
    """The catalog row of a variant."""
    choice = variant.choice
    return {
        "variant_id": variant.id,
        "base_model_id": variant.model.base_model_id,
        "demonstration_set_id": variant.demonstration_set_id,
        "contrast_set_id": variant.contrast_set_id,
        "score": choice.score if choice else None,
        "structure": choice.structure if choice else None,
        "propagation": variant.propagation,
        "sparsity": variant.sparsity,
        "achieved_sparsity": achieved,
        "weights_changed": False,
        "intervention": None,
        "seed": choice.seed if choice else None,
        "ordering_id": place.get("ordering_id"),
        "level": place.get("level"),
    }


def block_identity(ordering_id: str, block: int, *, parents: dict[str, Any]) -> Identity:
    """Identity of the masks of one block of an ordering or sweep."""
    return identified("mask_blocks", {"ordering": ordering_id, "block": block}, parents=parents)
