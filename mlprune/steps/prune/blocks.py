"""Variants without whole blocks: plan their jobs, choose the blocks, and write their records. They have no masks."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar

from mlprune.errors import RecipeError
from mlprune.hashing import ordered_by_hash
from mlprune.json_values import JsonValue, Row, as_float, as_int
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.recipe.base import NamedEntry
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Job, RecordKey, SmallJob
from mlprune.steps.observe.block_influence import BlockInfluenceJob
from mlprune.steps.observe.dense_pass import pass_jobs
from mlprune.steps.variants.blocks_variant import BlocksVariant
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant import VariantSpec, of_kind, variant_row
from mlprune.store.store import Store


def block_jobs(recipe: Recipe, inputs: Inputs, variants: Iterable[PlannedVariant]) -> Iterator[Job]:
    """Yield the job of each variant without blocks, after that of the influences that it reads.

    Raises:
        RecipeError: masks of such a variant, which has none, would be read.
    """
    for variant in variants:
        for entry in variant.entries:
            require_no_masks_of(recipe, entry)
        sets = {"": variant.sets}
        passes = pass_jobs(BlockInfluenceJob, "block_influence", recipe, inputs, sets, names=sets)
        yield from passes
        for spec in of_kind(BlocksVariant, [variant.spec]):
            yield RemoveBlocksJob(spec.identity, spec, *(job.identity.id for job in passes))


def require_no_masks_of(recipe: Recipe, entry: NamedEntry) -> None:
    """Refuse an entry whose masks are combined or analysed."""
    errors = recipe.analyses.layer_errors
    uses = {
        "combine": [name for other in recipe.variants for name in other.of],
        "analyses.neuron_variants": recipe.analyses.neuron_variants,
        "analyses.layer_errors": (errors.variants or [entry.name]) if errors else (),
    }
    for use, names in uses.items():
        if entry.name in names:
            message = "a variant without whole blocks has no masks"
            raise RecipeError(message, variant=entry.name, key=use, expected="names of other variants")


@dataclass(frozen=True)
class RemoveBlocksJob(SmallJob):
    """Choose the blocks of a variant and write its record."""

    step: ClassVar[str] = "prune"
    variant: BlocksVariant
    influence_id: str | None = None
    """Record of the influence of all blocks; None if the score does not read it."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The influence of the blocks, if the score reads it."""
        return (("block_influence", self.influence_id),) if self.influence_id else ()

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record."""
        influence: dict[int, float] = {}
        if self.influence_id:
            rows = store.require("block_influence", self.influence_id).rows["block_influence"]
            influence = {as_int(row["block"]): as_float(row["influence"]) for row in rows}
        removed = chosen_blocks(self.variant, influence)
        store.write_record(self.identity.record(rows=rows_without_blocks(self.variant, removed)))


def chosen_blocks(variant: BlocksVariant, influence: Mapping[int, float]) -> list[int]:
    """Return the blocks that a variant lacks, ascending.

    Of equal influences, that of the earlier block counts as lower. Random blocks are the first ones in the order of the
    SHA-256 of `"seed:block"`.

    Args:
        influence: of each block, for score block_influence.
    """
    blocks = variant.candidates
    if variant.score.score == "block_influence":
        ordered = sorted(blocks, key=lambda block: (influence[block], block))
    else:
        ordered = list(map(int, ordered_by_hash(variant.score.seed or 0, map(str, blocks))))
    return sorted(ordered[: variant.n_removed])


def rows_without_blocks(variant: VariantSpec, removed: Sequence[int]) -> dict[str, list[Row]]:
    """Return table -> rows of a variant that lacks whole blocks."""
    layers = list(_layers_without(variant, removed))
    weights = sum(as_int(row["n_removed"]) for row in layers) / sum(as_int(row["n_weights"]) for row in layers)
    columns: Row = {"n_removed_blocks": len(removed), "removed_blocks": list[JsonValue](removed)}
    links: list[Row] = [
        {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
        for set_id, role, weight in variant.set_links()
    ]
    tables: dict[str, list[Row]] = {
        "variants": [variant_row(variant, achieved=weights) | columns],
        "variant_layers": layers,
        "variant_demonstrations": links,
    }
    return {name: rows for name, rows in tables.items() if rows}


def _layers_without(variant: VariantSpec, removed: Collection[int]) -> Iterator[Row]:
    """Yield the number of removed weights in each layer: all weights of a removed block."""
    files = WeightFiles(Path(variant.model.path), architecture_at(variant.model.path))
    for block in range(variant.model.n_blocks):
        for layer, shape in files.layer_shapes(block).items():
            row: Row = {"variant_id": variant.id, "block": block, "layer": layer, "n_weights": prod(shape)}
            row |= {"n_removed": prod(shape) if block in removed else 0}
            yield row | {"n_silent_features": 0, "n_dampings": None}
