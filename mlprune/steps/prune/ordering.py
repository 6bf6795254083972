"""Order the weights of blocks by stored statistics and collect variants (step `prune`, dense propagation).

An ordering contains the masks of all sparsities of a recipe that differ in nothing else. One job orders one block.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from mlprune.json_values import JsonValue
from mlprune.methods import StatisticsName
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.checkpoint.weight_files import architecture_at, block_on_disk
from mlprune.models.model_layers import ModelLayer, dense_groups
from mlprune.models.placement.memory_estimate import Footprint, pruning_bytes
from mlprune.pruning.block_inputs import (
    NO_INPUTS,
    BlockInputs,
    BlockTotals,
    Factors,
    block_inputs,
    factors_of,
    reads_means,
)
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.mask_files import mask_path, weights_path, write_block_masks, write_block_weights
from mlprune.pruning.schedules import LayerPosition, layer_sparsities
from mlprune.pruning.scoring import LayerSparsities, PrunedBlock, RefinedVariant, refinement_tables
from mlprune.pruning.spec import StatisticsSelection
from mlprune.steps import job
from mlprune.steps.loss_records import loss_keys, losses_of
from mlprune.steps.observe.block_files import PRODUCT_FILES
from mlprune.steps.observe.block_pass import OBSERVED_KINDS, read_set_statistics
from mlprune.steps.observe.expert_products import FILE_BYTES, expert_files
from mlprune.steps.observe.statistics_files import read_block_totals
from mlprune.steps.plan_lines import MAX_LISTED, PlanLine, PlannedJobs
from mlprune.steps.prune.block_values import read_block_values, values_key
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant import DenseVariant, variant_row
from mlprune.steps.variants.variant_rows import write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store

SUMS_BYTES = 16
"""Bytes per feature and demonstration of the sums of features of a block: a sum and a deviation in float64."""
LEVEL_BYTES = 1
"""Bytes per weight of the levels of one block until they are written."""


@dataclass(frozen=True)
class Ordering:
    """A variant, the sparsities of all variants that differ from it in nothing else, and the records that it reads."""

    variant: ScoredVariant
    sparsities: tuple[float, ...]
    """Ascending."""
    statistics: tuple[str, ...] = ()
    """Ids of the statistics of the demonstration sets; empty if the score reads none."""
    contrast: str | None = None
    """Id of the statistics of the contrast set."""
    block_values: job.RecordKey | None = None
    """Record of the values of blocks that the schedule reads, such as outlier ratios."""
    observations: tuple[tuple[StatisticsName, tuple[str, ...]], ...] = ()
    """Statistics other than sums of squares, with the ids of their records, in the order of the sets."""

    @classmethod
    def of_record(cls, record: Record, variant: ScoredVariant) -> Self:
        """Return the ordering that the masks of a variant come from, with the variant's sparsity only."""
        return cls(
            variant,
            (variant.sparsity,),
            statistics=tuple(record.parents.get("statistics", ())),
            contrast=record.optional_parent("contrast_statistics"),
            block_values=values_key(record),
            observations=tuple(
                (name, tuple(record.parents[kind])) for name, kind in OBSERVED_KINDS.items() if kind in record.parents
            ),
        )

    @property
    def method(self) -> PruningMethod:
        """How masks and new weights are chosen."""
        return PruningMethod(self.variant.score, self.variant.refinement)

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The records that it reads."""
        ids = (*self.statistics, self.contrast)
        statistics = (("statistics", statistics_id) for statistics_id in ids if statistics_id)
        values = (self.block_values,) if self.block_values else ()
        observed = ((OBSERVED_KINDS[name], record_id) for name, ids in self.observations for record_id in ids)
        return (*statistics, *observed, *values, *loss_keys(self.variant.schedule))


def order_block(store: Store, model: job.ModelRef, block: int, ordering: Ordering) -> PrunedBlock:
    """Score and order one block, and refine its masks, from the model's files and stored statistics."""
    architecture = architecture_at(model.path).block(block)
    return pruned_block(
        block_on_disk(Path(model.path), block, dtype=model.dtype),
        ordering.method,
        sparsities=sparsities_of(store, architecture, block, ordering),
        inputs=stored_inputs(store, ordering, block=block),
        block=block,
        architecture=architecture,
    )


def sparsities_of(store: Store, architecture: BlockArchitecture, block: int, ordering: Ordering) -> LayerSparsities:
    """Return layer -> its sparsities in one block."""
    values = read_block_values(store, ordering.block_values) if ordering.block_values else None
    losses = losses_of(store, ordering.variant.schedule)
    return {
        layer: layer_sparsities(
            ordering.sparsities,
            position=LayerPosition(block, layer, values, losses),
            schedule=ordering.variant.schedule,
            scope=ordering.variant.scope,
        )
        for layer in architecture.layers
    }


def stored_inputs(store: Store, ordering: Ordering, *, block: int) -> BlockInputs:
    """Return the statistics of one block that an ordering reads."""
    selection = ordering.variant.selection
    if selection is None:
        return NO_INPUTS
    factors = _factors(store, ordering, selection, block=block)
    sets = [
        read_set_statistics(
            store, {name: ids[position] for name, ids in ordering.observations}, block, selection=selection
        )
        for position in range(len(ordering.statistics) if ordering.observations else 0)
    ]
    return block_inputs(factors, sets, shares=selection.shares)


def _factors(store: Store, ordering: Ordering, selection: StatisticsSelection, *, block: int) -> Factors:
    """Return the factors of one block's features from stored statistics."""

    def totals(statistics_id: str) -> BlockTotals:
        artefacts = store.require("statistics", statistics_id).artefacts
        return read_block_totals(store, artefacts, block, selection=selection)

    sets = [totals(statistics_id) for statistics_id in ordering.statistics]
    contrast = totals(ordering.contrast) if ordering.contrast else None
    return factors_of(
        sets, selection=selection, contrast=contrast, per_demonstration=reads_means(ordering.variant.score)
    )


@dataclass(frozen=True)
class MethodCost:
    """What the score and the refiner of a variant need besides the weights."""

    needs: tuple[StatisticsName, ...] = ()
    """Statistics that they read."""
    n_sets: int = 1
    changes_weights: bool = False
    refines: bool = False
    """Whether a refiner changes the masks."""
    bytes_per_weight: int = 0
    """Memory per weight of a layer while the score works on it."""
    is_stored: bool = False
    """Whether the statistics are read from the store, Gram matrices of experts a few at a time."""
    n_demonstrations: int = 0
    """Of the largest set, at most; the sums of features of a set are in memory until its moments are known."""

    def fixed_bytes(self, sizes: Footprint) -> int:
        """Memory of the statistics of one block, of each set and combined, and of its new weights and masks."""
        n_matrices = self.n_sets + (self.n_sets > 1) + 0.5
        products = int(8 * n_matrices * sizes.input_products) if "products" in self.needs else 0
        if products and self._reads_files(sizes):
            apart = sizes.n_experts * sizes.expert_products
            in_files = self.n_sets * (PRODUCT_FILES + 1) * max(FILE_BYTES, 4 * sizes.expert_products)
            products = int(8 * n_matrices * (sizes.input_products - apart)) + in_files
        gradients = 4 * (self.n_sets + 1) * sum(sizes.prunable) if "gradients" in self.needs else 0
        sums = SUMS_BYTES * self.n_demonstrations * sizes.inputs if "sums" in self.needs else 0
        per_weight = 2 * sizes.itemsize if self.changes_weights else 0  # as tensors, and as the bytes of a file
        per_weight += (5 if self.changes_weights else 1) if self.refines else 0  # refined masks, and weights in float32
        return products + gradients + sums + per_weight * sum(sizes.prunable)

    def thread_bytes(self, sizes: Footprint) -> int:
        """Memory per thread of the Gram matrices of an expert that are read when it is pruned."""
        return 8 * (self.n_sets + 2) * sizes.expert_products if self._reads_files(sizes) else 0

    def _reads_files(self, sizes: Footprint) -> bool:
        is_stored = self.is_stored and "products" in self.needs
        return is_stored and bool(expert_files(sizes.n_experts, sizes.expert_products))

    def changed_bytes(self, sizes: Footprint) -> int:
        """Disk space of the new weights of one block, float32 at most."""
        return 4 * sum(sizes.prunable) if self.changes_weights else 0


ONLY_SCORES = MethodCost()
"""Of a score that keeps the weights, and reads no more than sums of squares."""


def ordering_cost(
    step: str,
    sizes: Footprint,
    *,
    n_sparsities: int,
    permuted_group: int | None = None,
    method: MethodCost = ONLY_SCORES,
) -> job.JobCost:
    """Cost of ordering the weights of one block, and of refining its masks.

    Args:
        permuted_group: M if the inputs of a layer are permuted before N:M.
        method: of the variant.
    """
    block_bytes = pruning_bytes(sizes, n_sparsities=n_sparsities, n_threads=0)
    layer_bytes = pruning_bytes(sizes, n_sparsities=n_sparsities) - block_bytes
    return job.JobCost(
        step,
        fixed_bytes=job.SMALL_JOB_BYTES + block_bytes + method.fixed_bytes(sizes),
        thread_bytes=layer_bytes
        + _permutation_bytes(sizes, permuted_group)
        + method.bytes_per_weight * max(sizes.prunable)
        + method.thread_bytes(sizes),
        disk_bytes=sum(sizes.prunable) * n_sparsities.bit_length() / 8 + method.changed_bytes(sizes),
    )


def _permutation_bytes(sizes: Footprint, group: int | None) -> int:
    """Memory to permute a layer: its scores in the found order and while they are sorted, and two gain matrices."""
    return 0 if group is None else 8 * sizes.prunable[0] + 16 * (sizes.widest // group) ** 2


@dataclass(frozen=True)
class OrderBlockJob(job.RecordJob):
    """Score and order one block for all sparsities of an ordering."""

    step: ClassVar[str] = "prune"
    model: job.ModelRef
    ordering_id: str
    block: int
    ordering: Ordering

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """Statistics, and values or losses that the schedule reads."""
        return self.ordering.needs

    @property
    def reads_block(self) -> int:
        """The block."""
        return self.block

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """One block."""
        ordering, score = self.ordering, self.ordering.variant.score
        needs = tuple(name for name, _ in ordering.observations)
        n_sets, changes = len(ordering.statistics), ordering.method.changes_weights
        bytes_per_weight, n_demonstrations = score.method.bytes_per_weight, job.most_demonstrations(sets)
        refines = ordering.variant.refinement is not None
        method = MethodCost(
            needs,
            n_sets,
            changes,
            refines,
            bytes_per_weight,
            is_stored=True,
            n_demonstrations=n_demonstrations,
        )
        n_sparsities, group = len(ordering.sparsities), score.permuted_group
        return ordering_cost(self.step, sizes, n_sparsities=n_sparsities, permuted_group=group, method=method)

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Read the tensors and statistics of this block, and write its masks and new weights."""
        pruned = order_block(store, self.model, self.block, self.ordering)
        files = [write_block_masks(store, mask_path(self.ordering_id, self.block), pruned.levels)]
        if self.ordering.method.changes_weights:
            files.append(write_block_weights(store, weights_path(self.ordering_id, self.block), pruned.weights))
        variant = self.ordering.variant
        refined = RefinedVariant(variant.id, variant.set_ids) if variant.refinement else None
        rows = refinement_tables(pruned.refinements, refined, block=self.block)
        store.write_record(self.identity.record(artefacts=tuple(files), rows=rows))


@dataclass(frozen=True)
class CollectVariantsJob(job.Job):
    """Write the records of an ordering and its variants once all blocks are ordered."""

    step: ClassVar[str] = "prune"
    ordering: job.Identity
    blocks: tuple[str, ...]
    """Ids of the blocks' mask records."""
    variants: tuple[ScoredVariant, ...]
    """One per sparsity of the ordering, ascending."""

    @property
    def makes(self) -> tuple[job.RecordKey, ...]:
        """The ordering and the variants."""
        return (self.ordering.key, *(variant.identity.key for variant in self.variants))

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The masks of all blocks."""
        return tuple(("mask_blocks", block) for block in self.blocks)

    @property
    def also_made_elsewhere(self) -> tuple[job.RecordKey, ...]:
        """The variants: orderings of other sparsities make the same records."""
        return tuple(variant.identity.key for variant in self.variants)

    @property
    def artefact_record(self) -> job.RecordKey | None:
        """The ordering, which has the masks."""
        return self.ordering.key

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """That of a small job."""
        return job.JobCost.small(self.step)

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Write the records. The mask files exist already."""
        records = [store.require("mask_blocks", block) for block in self.blocks]
        write_variants(store, self.ordering, records, self.variants)


@dataclass(frozen=True)
class DenseVariantJob(job.Job):
    """Write the records of a base model and its dense variant."""

    step: ClassVar[str] = "prune"
    base: job.Identity
    row: tuple[tuple[str, JsonValue], ...]
    """The base model's catalog row."""
    layers: tuple[ModelLayer, ...]
    """Parameters of two or more dimensions in the base model's blocks."""
    variant: DenseVariant

    @property
    def makes(self) -> tuple[job.RecordKey, ...]:
        """The base model and the dense variant."""
        return (self.base.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """No records."""
        return ()

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """That of a small job."""
        return job.JobCost.small(self.step)

    @classmethod
    def plan_lines(cls, planned: PlannedJobs[Self, job.JobCost]) -> Iterable[PlanLine]:
        """One line about the parameters that stay dense in the blocks of the recipe's model, if there are any."""
        of_model = [one for one in planned.jobs if one.base.id == planned.model_id]
        groups = dense_groups(layer for one in of_model for layer in one.layers)
        if not groups:
            return
        names: dict[str, list[str]] = {}
        for group in groups:
            names.setdefault(group.reason, []).append(group.name)
        listed = [f"{', '.join(of_reason)} ({reason})" for reason, of_reason in list(names.items())[:MAX_LISTED]]
        n_weights = sum(group.n_weights for group in groups)
        yield PlanLine(
            "model",
            f"stays dense: {n_weights:,} weights in blocks: {'; '.join(listed)}; "
            f"details: mlprune check model {shlex.quote(of_model[0].variant.model.path)}",
        )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Write both records."""
        layers = [{"base_model_id": self.base.id, **layer._asdict()} for layer in self.layers]
        store.write_record(self.base.record(rows={"base_models": [dict(self.row)], "model_layers": layers}))
        rows = {"variants": [variant_row(self.variant, achieved=0.0)]}
        store.write_record(self.variant.identity.record(rows=rows))
