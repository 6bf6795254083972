"""Variants without whole blocks: plan them and their jobs, choose the blocks, and write their records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from mlprune.capabilities.blocks.variant import BlocksVariant
from mlprune.errors import RecipeError
from mlprune.hashing import ordered_by_hash
from mlprune.json_values import as_float, as_int
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Job, RecordKey, SmallJob, make_identity
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


class BlockVariants(StructureVariants[BlocksVariant]):
    """Variants of structure `blocks`."""

    def planned(self, variant: ScoredVariant) -> BlocksVariant:
        """Return the variant that lacks the blocks instead of weights.

        Raises:
            RecipeError: it would lack no block, or all.
        """
        model, score, scope, share = variant.model, variant.score, variant.scope, variant.sparsity
        if score.method.removes_scope:
            share = (len(scope.blocks) or model.n_blocks) / model.n_blocks
        parameters = {name: value for name, value in variant.identity.parameters.items() if name != "propagation"}
        identity = make_identity("variants", {**parameters, "sparsity": share}, parents=variant.identity.parents)
        spec = BlocksVariant(identity, model, share, score, scope, *variant.set_ids)
        if not 0 < spec.n_removed < model.n_blocks:
            message = "structure blocks would remove no block, or all"
            expected = f"1 to {model.n_blocks - 1} of the {model.n_blocks} blocks"
            raise RecipeError(message, expected=expected, got=spec.n_removed)
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
