"""Step `prune`, dense propagation: stored statistics -> orderings, one block a job -> variants.

One ordering serves all sparsities of its recipe. Sequential propagation is in `sweep.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mlprune.json_values import JsonValue
from mlprune.models.families.records import FAMILIES, Family
from mlprune.models.loading import read_block
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.pruning.feature_factors import BlockTotals, Factors, factors_of
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.pruning.schedules import LayerPosition, layer_sparsities
from mlprune.pruning.scoring import BlockLevels, LayerSparsities, block_levels
from mlprune.pruning.spec import ScheduleSpec, Scope, ScoreSpec, StatisticsSelection
from mlprune.steps.job import ChainLoader, Identity, Job, ModelRef, RecordJob, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.observe.statistics_files import read_block_totals
from mlprune.steps.prune.cost import ordering_cost
from mlprune.steps.prune.outliers import read_ratios
from mlprune.steps.prune.variant import DenseVariant, ScoredVariant
from mlprune.steps.prune.variant_rows import variant_row, write_variants
from mlprune.store.store import Store


@dataclass(frozen=True)
class Ordering:
    """What variants that differ only in their sparsity have in common, and those sparsities."""

    score: ScoreSpec
    sparsities: tuple[float, ...]
    """Ascending."""
    schedule: ScheduleSpec
    scope: Scope
    selection: StatisticsSelection | None = None
    statistics: tuple[str, ...] = ()
    """Statistics of the demonstration sets; none where the score reads none."""
    contrast: str | None = None
    """Statistics of the contrast set."""
    outliers: str | None = None
    """Outlier ratios, for schedule owl."""

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The records it reads."""
        statistics = (("statistics", one) for one in (*self.statistics, self.contrast) if one)
        return (*statistics, *((("outliers", self.outliers),) if self.outliers else ()))


def order_block(store: Store, model: ModelRef, block: int, ordering: Ordering) -> BlockLevels:
    """Score and order one block from the model's files and stored statistics, and from nothing else."""
    family = FAMILIES[model.family]
    return block_levels(
        read_block(Path(model.path), block, dtype=model.dtype),
        score=ordering.score,
        sparsities=sparsities_of(store, family, block, ordering),
        block=block,
        family=family,
        factors=stored_factors(store, ordering.statistics, ordering.selection, block=block, contrast=ordering.contrast),
    )


def sparsities_of(store: Store, family: Family, block: int, ordering: Ordering) -> LayerSparsities:
    """Layer -> its sparsities in one block."""
    ratios = read_ratios(store, ordering.outliers) if ordering.outliers else None
    return {
        layer: layer_sparsities(
            ordering.sparsities,
            position=LayerPosition(block, layer, ratios),
            schedule=ordering.schedule,
            scope=ordering.scope,
        )
        for layer in family.layers
    }


def stored_factors(
    store: Store,
    statistics: Sequence[str],
    selection: StatisticsSelection | None,
    *,
    block: int,
    contrast: str | None = None,
) -> Factors | None:
    """Factors of one block's features from stored statistics; None where none are read."""
    if selection is None:
        return None

    def totals(statistics_id: str) -> BlockTotals:
        artefacts = store.require("statistics", statistics_id).artefacts
        return read_block_totals(store, artefacts, block, selection=selection)

    sets = [totals(one) for one in statistics]
    return factors_of(sets, selection=selection, contrast=totals(contrast) if contrast else None)


@dataclass(frozen=True)
class OrderBlockJob(RecordJob):
    """Score and order one block for all sparsities of an ordering."""

    step: ClassVar[str] = "prune"
    model: ModelRef
    ordering_id: str
    block: int
    ordering: Ordering

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Statistics and outlier ratios."""
        return self.ordering.needs

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One block."""
        return ordering_cost(self.step, sizes, n_sparsities=len(self.ordering.sparsities))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Read this block's tensors and statistics and nothing else."""
        found = order_block(store, self.model, self.block, self.ordering)
        artefact = write_block_masks(store, mask_path(self.ordering_id, self.block), found)
        store.write_record(self.identity.record(artefacts=(artefact,)))


@dataclass(frozen=True)
class CollectVariantsJob(Job):
    """Make the variants of an ordering out of its blocks' masks."""

    step: ClassVar[str] = "prune"
    ordering: Identity
    blocks: tuple[str, ...]
    """Ids of the blocks' mask records."""
    variants: tuple[ScoredVariant, ...]
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

    @property
    def holder(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.ordering.key

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the records; the masks lie there already."""
        records = [store.require("mask_blocks", block) for block in self.blocks]
        write_variants(store, self.ordering, records, self.variants)


@dataclass(frozen=True)
class DenseVariantJob(Job):
    """Record the base model and its dense variant, the baseline of everything."""

    step: ClassVar[str] = "prune"
    base: Identity
    row: tuple[tuple[str, JsonValue], ...]
    """The base model's catalog row."""
    variant: DenseVariant

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The base model and the dense variant."""
        return (self.base.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Nothing."""
        return ()

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write both records."""
        store.write_record(self.base.record(rows={"base_models": [dict(self.row)]}))
        rows = {"variants": [variant_row(self.variant, achieved=0.0)]}
        store.write_record(self.variant.identity.record(rows=rows))
