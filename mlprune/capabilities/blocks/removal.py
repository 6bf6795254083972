"""Variants without whole blocks: plan them and their jobs, choose the blocks, and write their records.

What is not said of blocks alone is also for variants without sub-layers (`sublayer_masks.py`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from mlprune.capabilities.blocks.variant import BlocksVariant, DepthVariant, Unit
from mlprune.errors import RecipeError
from mlprune.hashing import ordered_by_hash
from mlprune.json_values import JsonObject, as_float, as_int
from mlprune.pruning.spec import Scope
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Identity, Job, RecordKey, SmallJob, make_identity
from mlprune.steps.observe.block_influence import BlockInfluenceJob
from mlprune.steps.observe.dense_pass import pass_jobs
from mlprune.steps.prune.structure_variants import StructureVariants
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.without_blocks import require_no_masks_of, rows_without_blocks
from mlprune.store.store import Store


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
        influence: dict[Unit, float] = {}
        if self.influence_id:
            rows = store.require("block_influence", self.influence_id).rows["block_influence"]
            influence = {as_int(row["block"]): as_float(row["influence"]) for row in rows}
        removed = [as_int(block) for block in chosen_units(self.variant, influence)]
        store.write_record(self.identity.record(rows=rows_without_blocks(self.variant, removed)))


def chosen_units(variant: DepthVariant, influence: Mapping[Unit, float]) -> list[Unit]:
    """Return the blocks or sub-layers that a variant lacks, in the order of the model.

    Of equal influences, that of the earlier unit counts as lower. Random units are the first ones in the order of the
    SHA-256 of `"seed:block"`, or of `"seed:block.kind"`.

    Args:
        influence: of each unit, for a score that reads it.
    """
    units = {str(unit): unit for unit in variant.candidates}
    if variant.score.method.reads_states:
        ordered = sorted(units.values(), key=influence.__getitem__)
    else:
        ordered = [units[name] for name in ordered_by_hash(variant.score.seed or 0, units)]
    removed = set(ordered[: variant.n_removed])
    return [unit for unit in variant.candidates if unit in removed]


def planned_depth(variant: ScoredVariant, scope: Scope, *, n_chosen: int, n_units: int) -> Identity:
    """Return the identity of a variant without units; its sparsity is their share.

    Args:
        variant: as a structure of weights would have it.
        scope: the units of which some are removed.
        n_chosen: number of units in the scope.
        n_units: of all units of the model.
    """
    share = n_chosen / n_units if variant.score.method.removes_scope else variant.sparsity
    names = ("propagation", "scope")
    parameters = {name: value for name, value in variant.identity.parameters.items() if name not in names}
    of_scope: JsonObject = {"scope": scope.parameters} if scope.parameters else {}
    return make_identity("variants", {**parameters, **of_scope, "sparsity": share}, parents=variant.identity.parents)


def require_some(variant: DepthVariant, *, n_units: int) -> None:
    """Check that a variant lacks a unit of its model, and not all.

    Raises:
        RecipeError: it does not.
    """
    if not 0 < variant.n_removed < n_units:
        message = f"structure {variant.structure} would remove no unit, or all"
        expected = f"1 to {n_units - 1} of the {n_units} {variant.structure}"
        raise RecipeError(message, expected=expected, got=variant.n_removed)


class BlockVariants(StructureVariants[BlocksVariant]):
    """Variants of structure `blocks`."""

    def planned(self, variant: ScoredVariant) -> BlocksVariant:
        """Return the variant that lacks the blocks instead of weights.

        Raises:
            RecipeError: it would lack no block, or all.
        """
        model, scope = variant.model, variant.scope
        n_chosen = len(scope.blocks) or model.n_blocks
        identity = planned_depth(variant, scope, n_chosen=n_chosen, n_units=model.n_blocks)
        share = as_float(identity.parameters["sparsity"])
        spec = BlocksVariant(identity, model, share, variant.score, scope, *variant.set_ids)
        require_some(spec, n_units=model.n_blocks)
        return spec

    def jobs(self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: BlocksVariant) -> Iterator[Job]:
        """Yield the pass over the set whose block influence the score reads, if any, then the job of the variant.

        Raises:
            RecipeError: masks of the variant, which has none, would be read.
        """
        for entry in planned.entries:
            require_no_masks_of(recipe, entry)
        sets = {"": planned.sets}
        passes = pass_jobs(BlockInfluenceJob, "block_influence", recipe, inputs, sets, names=sets)
        yield from passes
        yield RemoveBlocksJob(variant.identity, variant, *(job.identity.id for job in passes))
