"""Variants without experts: check them, choose the experts from stored statistics, and write their masks.

The masks remove all weights of both layers of an expert, which marks it as removed: it never reaches the choice of a
token. The other layers keep all weights.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.experts.expert_choice import (
    ExpertGroups,
    ExpertSums,
    joined_scores,
    random_ranks,
    removed_experts,
)
from mlprune.capabilities.experts.expert_statistics import KIND, blocks_of, expert_statistics_jobs, selected_sums
from mlprune.errors import RecipeError
from mlprune.json_values import Row
from mlprune.methods import ExpertUseParameters, checked_parameters
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.selection.levels import n_removed
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.pruning.spec import StatisticsSelection
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import (
    SMALL_JOB_DISK_BYTES,
    ChainLoader,
    Identity,
    Job,
    JobCost,
    ModelRef,
    RecordKey,
    SetSizes,
    make_identity,
)
from mlprune.steps.prune.structure_variants import StructureVariants
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant, scored_variant
from mlprune.steps.variants.variant_rows import write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store

CONTRAST = f"contrast_{KIND}"
"""Role of the statistics of a contrast set."""
MASK_FILE_BYTES = 8_000
"""Disk space of the masks of a block, which repeat few bytes. Measured: 3,724 for 8 experts, 4,579 for 128."""


def groups_of(model: ModelRef) -> dict[int, ExpertGroups]:
    """Return block -> the groups of its experts, of the blocks with experts."""
    experts = architecture_at(model.path).experts
    return {block: ExpertGroups(one.n_groups, one.least_of_group) for block, one in experts.items()}


@dataclass(frozen=True)
class ExpertRecords:
    """Records of the statistics that the choice of experts reads."""

    sets: tuple[str, ...] = ()
    """In the order of the variant's sets; empty for random experts."""
    contrast: str | None = None

    @classmethod
    def of(cls, ordering: Record) -> "ExpertRecords":
        """Return those that an ordering was made from."""
        return cls(tuple(ordering.parents.get(KIND, ())), ordering.optional_parent(CONTRAST))


@dataclass(frozen=True)
class BlockChoice:
    """The experts of one block that are removed."""

    removed: Tensor
    """[experts] bool."""
    n_unused: int | None
    """Experts without tokens in all sets; None if the choice reads no sets."""


def chosen_experts(store: Store, variant: ScoredVariant, records: ExpertRecords) -> dict[int, BlockChoice]:
    """Return block -> the experts that a variant lacks, of the blocks with experts.

    Raises:
        StatisticsError: no token of a set counts.
    """
    n_experts = {block: one.n_experts for block, one in architecture_at(variant.model.path).experts.items()}
    groups, together = groups_of(variant.model), variant.score.structure == "all_experts"
    if variant.calibration is None:
        ranks = random_ranks(n_experts, seed=variant.score.seed or 0)
        unused = {block: torch.zeros(n, dtype=torch.bool) for block, n in n_experts.items()}
        removed = removed_experts(ranks, unused, variant.sparsity, groups=groups, together=together)
        return {block: BlockChoice(of_block, None) for block, of_block in removed.items()}
    selection = variant.calibration.selection
    sets = [_sums(store, record, selection) for record in records.sets]
    against = _sums(store, records.contrast, selection) if records.contrast else {}
    unused = {block: torch.stack([one[block].sums[:, 0] == 0 for one in sets]).all(dim=0) for block in n_experts}
    scores = {
        block: joined_scores(
            [one[block] for one in sets],
            expert_use(variant),
            how=selection.aggregation,
            parameters=selection.aggregation_parameters,
            shares=selection.shares,
            contrast=against.get(block),
        )
        for block in n_experts
    }
    removed = removed_experts(scores, unused, variant.sparsity, groups=groups, together=together)
    return {block: BlockChoice(of_block, int(unused[block].sum())) for block, of_block in removed.items()}


def expert_use(variant: ScoredVariant) -> ExpertUseParameters:
    """Return the settings of the score of a variant."""
    short_for = variant.score.method.short_for
    return checked_parameters(short_for[1] if short_for else variant.score.score_parameters, ExpertUseParameters)


def _sums(store: Store, record_id: str, selection: StatisticsSelection) -> dict[int, ExpertSums]:
    files = blocks_of(store.require(KIND, record_id))
    return {block: ExpertSums(*selected_sums(store, file, selection)) for block, file in files.items()}


def expert_levels(model: ModelRef, block: int, removed: Tensor | None, *, sparsity: float) -> BlockLevels:
    """Return layer -> keep mask of a block, as levels 0 (removed) and 1 (kept).

    Args:
        removed: [experts] bool; None for a block without experts.
    """
    architecture = architecture_at(model.path)
    experts = architecture.block(block).experts
    gone: set[str] = set()
    if experts is not None and removed is not None:
        gone = {layer for expert in removed.nonzero().flatten().tolist() for layer in experts.layers(expert)}
    shapes = WeightFiles(Path(model.path), architecture).layer_shapes(block)
    kinds = {layer: (shape, layer not in gone) for layer, shape in shapes.items()}
    levels = {
        (shape, stays): described_levels(torch.full(shape, stays, dtype=torch.uint8), (sparsity,))
        for shape, stays in dict.fromkeys(kinds.values())
    }
    return {layer: levels[kind] for layer, kind in kinds.items()}


@dataclass(frozen=True)
class ExpertMasksJob(MasksJob):
    """Choose the experts of a variant and write its masks."""

    variant: ScoredVariant
    records: ExpertRecords

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The statistics of all sets."""
        return tuple((KIND, record) for record in (*self.records.sets, self.records.contrast) if record)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread: packed masks of its layers, and what one layer needs while it is packed."""
        thread_bytes = 3 * sum(sizes.prunable) // 8 + 3 * max(sizes.prunable)
        disk_bytes = SMALL_JOB_DISK_BYTES + MASK_FILE_BYTES * len(sizes.blocks)
        return JobCost(self.step, thread_bytes=thread_bytes, disk_bytes=disk_bytes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the masks of all blocks, then the records.

        Raises:
            StatisticsError: no token of a set counts.
        """
        chosen = chosen_experts(store, self.variant, self.records)

        def levels_of(block: int) -> BlockLevels:
            removed = chosen[block].removed if block in chosen else None
            return expert_levels(self.variant.model, block, removed, sparsity=self.variant.sparsity)

        blocks = self.write_masks(store, levels_of)
        rows = {"variant_experts": list(_rows(self.variant.id, chosen))}
        write_variants(store, self.ordering, blocks, (self.variant,), rows=rows)


def _rows(variant_id: str, chosen: Mapping[int, BlockChoice]) -> Iterator[Row]:
    for block, choice in chosen.items():
        removed = choice.removed.nonzero().flatten().tolist()
        row: Row = {"variant_id": variant_id, "block": block, "n_experts": len(choice.removed)}
        yield {**row, "n_unused": choice.n_unused, "n_removed": len(removed), "removed": removed}


class ExpertVariants(StructureVariants[ScoredVariant]):
    """Variants of structures `experts` and `all_experts`."""

    def planned(self, variant: ScoredVariant) -> ScoredVariant:
        """Return the variant itself, after a check that the model has experts, and that enough of them would remain.

        Raises:
            RecipeError: it has none, or a token could not choose as many as it does.
        """
        sparsity, structure = variant.sparsity, variant.structure
        if not sparsity:
            return variant
        groups, experts = groups_of(variant.model), architecture_at(variant.model.path).experts
        if not groups:
            expected = "a mixture of experts"
            raise RecipeError("the model has no experts", key="structure", expected=expected, got=structure)
        for blocks in [tuple(groups)] if structure == "all_experts" else [(block,) for block in groups]:
            n = sum(experts[block].n_experts for block in blocks)
            n_kept = sum(groups[block].n_kept for block in blocks)
            if n_removed(sparsity, n) > n - n_kept:
                message = "too few experts would remain for the choice of a token"
                expected = f"at most {(n - n_kept) / n:g}, so that {n_kept} of {n} experts remain"
                raise RecipeError(message, key="sparsity", blocks=list(blocks), expected=expected, got=sparsity)
        return variant

    def jobs(self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: ScoredVariant) -> Iterator[Job]:
        """Yield the passes over the sets of a variant without experts, then the job that makes it."""
        named = {"": planned.sets, CONTRAST: (planned.contrast,) if planned.contrast else ()}
        passes, against = (expert_statistics_jobs(recipe, inputs, named, names=[name]) for name in named)
        yield from (*passes, *against)
        of_set = {job.demonstration_set_id: job.identity.id for job in passes}
        records = ExpertRecords(tuple(of_set[one.id] for one in planned.sets), *(job.identity.id for job in against))
        parents = {"variant": variant.id, KIND: list(records.sets) or None, CONTRAST: records.contrast}
        yield ExpertMasksJob(make_identity("masks", {"experts": True}, parents=parents), variant, records)

    def rebuilder(
        self, store: Store, identity: Identity, model: ModelRef, *, ordering: Record
    ) -> Callable[[int], BlockLevels]:
        """Return a function that makes the levels of a block again, from the stored statistics."""
        variant = scored_variant(identity, model)
        chosen = chosen_experts(store, variant, ExpertRecords.of(ordering))
        removed = {block: choice.removed for block, choice in chosen.items()}
        return lambda block: expert_levels(variant.model, block, removed.get(block), sparsity=variant.sparsity)
