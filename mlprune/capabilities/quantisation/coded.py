"""Variants with codes: plan them, and round the weights of a finished variant block by block.

GPTQ reads Gram matrices of the inputs of each block. With sequential propagation, the blocks before it have rounded
weights and the block itself those of the parent; with dense propagation, all are dense. The files of a block are
recorded as soon as they exist. A job that was killed resumes there: it runs the finished blocks forward without
observing them again. Rounding to nearest runs nothing.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from mlprune.capabilities.capability import Planned, Variants
from mlprune.capabilities.quantisation.block_codes import BlockCoding
from mlprune.capabilities.quantisation.keys import QuantiseConfig
from mlprune.capabilities.quantisation.settings import CodeSettings
from mlprune.capabilities.quantisation.variant import CodedVariant
from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.errors import RecipeError
from mlprune.hashing import without_defaults
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.models.chain import Chain
from mlprune.models.masks.block_changes import ReadChanges
from mlprune.models.messages import TokenBatch, WantedStatistics
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.models.shared_sweep import SharedSweep
from mlprune.processes.job_parts import in_parts
from mlprune.pruning.mask_files import StoredChanges
from mlprune.recipe.models import ComputeConfig
from mlprune.recipe.variants import VariantConfig
from mlprune.steps import job
from mlprune.steps.prune.requested_variants import normal_shares, of_seed, set_groups
from mlprune.steps.sets import PlannedSet, PlannedSets, check_token_scope
from mlprune.steps.variants.derived_blocks_job import DerivedBlocksJob, changes_of_block
from mlprune.steps.variants.planned_variant import PlannedVariant, with_derived
from mlprune.steps.variants.variant import UNCODED, UNQUANTISED, of_kind
from mlprune.steps.variants.variant_rows import (
    stored_changes,
    write_variants,
)
from mlprune.store.records import Record
from mlprune.store.store import Store

CODE_BYTES = 3
"""Bytes per weight of a block in addition to its weights: codes as bytes, packed, and as the bytes of a file."""
COLUMN_BYTES = 5 * 8
"""Bytes per weight of a layer while it is rounded: columns, a copy for products and errors, and codes, in float64."""
FACTOR_MATRICES = 4
"""Matrices of the size of a Gram matrix while an input is factored, in float64."""


def coding_cost(
    step: str, sizes: Footprint, size: job.SetSize, *, n_sets: int, batch_tokens: int, code_bytes: float
) -> job.JobCost:
    """Cost of rounding all blocks.

    Args:
        size: of all demonstration sets together.
        n_sets: number of sets; 0 for rounding to nearest, which runs nothing.
        code_bytes: bytes of a code and of its part of scale and zero point.
    """
    n_weights, n_blocks = sum(sizes.prunable), len(sizes.blocks)
    matrices = 8 * (n_sets + (n_sets > 1)) * sizes.input_products
    fixed_bytes = job.SMALL_JOB_BYTES + job.state_bytes(sizes, size.n_tokens) + matrices
    fixed_bytes += (sizes.itemsize + CODE_BYTES) * n_weights
    of_layer = COLUMN_BYTES * max(sizes.prunable) + (8 * FACTOR_MATRICES * sizes.widest**2 if n_sets else 0)
    thread_bytes = max(of_layer, job.batch_bytes(sizes, batch_tokens) if n_sets else 0)
    usual = job.JobCost.dense_pass(step, sizes, size.n_tokens, thread_bytes=thread_bytes, n_runs=2)
    # products of Gram matrices; the factor and the sweep, and the errors of each set, of three versions of a weight
    of_products = 2.0 * size.n_tokens * sizes.input_products
    of_rounding = (2.0 + 6.0 * n_sets) * sizes.widest * n_weights if n_sets else 0.0
    return replace(
        usual,
        flops=usual.flops + n_blocks * (of_products + of_rounding),
        fixed_bytes=fixed_bytes,
        device_fixed_bytes=fixed_bytes - job.SMALL_JOB_BYTES,
        transfer_bytes=(sizes.itemsize + CODE_BYTES) * n_weights,
        disk_bytes=job.n_block_weights(sizes) * (code_bytes + 1 / 8),
    )


@dataclass(frozen=True)
class CodeJob(DerivedBlocksJob, job.ModelJob):
    """Round the weights of a finished variant, block by block."""

    variant: CodedVariant

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """One pass over all sets, one block at a time."""
        settings, set_ids = self.variant.settings, self.variant.set_ids
        of_group = sizes.itemsize + (0 if settings.symmetric else 1)
        code_bytes = settings.bits / 8 + of_group / (settings.group_size or sizes.hidden)
        return coding_cost(
            self.step,
            sizes,
            self.size_of_sets(sets),
            n_sets=len(set_ids),
            batch_tokens=self.batch_tokens,
            code_bytes=code_bytes,
        )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Round all blocks, then write the records.

        Raises:
            DamagedArtefactError: a file of the parent is missing or damaged.
            StatisticsError: an activation is not finite, or a Gram matrix is impossible.
        """
        model, records = chain(), []
        parent = stored_changes(store, self.variant.parent.id)
        sweep = SharedSweep(model, self._batches(store))
        try:
            sweep.start()
            for block in in_parts("block", range(model.n_blocks)):
                records.append(self._code_block(store, model, sweep, block=block, parent=parent))
        finally:
            sweep.clear()
        write_variants(store, self.ordering, records, (self.variant,), rows=self._rows(store))

    def _rows(self, store: Store) -> Mapping[str, list[Row]]:
        """Return the rows of the parent's record as the variant's; the layers of a dense parent are those of masks."""
        rows = self.rows_from_parent(store, role=UNQUANTISED, columns=self.variant.new_columns)
        if rows["variants"][0].get("mask_sha256") is None:
            del rows["variants"]
        return {table: of_table for table, of_table in rows.items() if of_table}

    def _batches(self, store: Store) -> Mapping[Hashable, TokenBatch]:
        """Cut all sets into batches; their keys begin with the set."""
        batches: dict[Hashable, TokenBatch] = {}
        for set_id in self.variant.set_ids:
            table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
            counted = counted_tokens(table, self.variant.settings.tokens)
            cut = token_batches(table["token_ids"], batch_tokens=self.batch_tokens, counted=counted)
            batches |= {(set_id, number): batch for number, (_, batch) in enumerate(cut)}
        return batches

    def _code_block(
        self, store: Store, model: Chain, sweep: SharedSweep, *, block: int, parent: StoredChanges | None
    ) -> Record:
        """Round one block, or find it in the store, and keep the states after it."""
        reads_dense = self.variant.settings.propagation == "dense"
        record = self.finished_block(store, block)
        if record is None:
            if self.variant.set_ids:
                if parent is not None and not reads_dense:
                    _apply(model, block, parent)
                sweep.observe(block, with_products=False, wanted=WantedStatistics(products=True))
            coding = BlockCoding(store.uri, self.variant, self.ordering.id, parent, block)
            coded = model.on_block(block, Shard.sweep_prune, block, coding)
            record = self.block_identity(block).record(artefacts=coded.files, rows=coded.rows)
            store.write_record(record)
        if block + 1 < model.n_blocks and self.variant.set_ids:
            if not reads_dense:
                _apply(model, block, changes_of_block(store, block, record))
            sweep.advance(block)
        return record


def _apply(model: Chain, block: int, changes: ReadChanges) -> None:
    model.on_block(block, Shard.exchange_changes, changes, blocks=[block])


def add_coded(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and, for entries with `quantise`, those with codes; see `with_derived`.

    Raises:
        RecipeError: a variant lacks whole blocks, reads no demonstrations, or no set has its seed.
    """
    derive = partial(_coded, planned)
    return with_derived(variants, lambda entry, _: entry.quantise is not None, derive)


def code_jobs(planned: Planned) -> Iterator[CodeJob]:
    """Yield the job of each variant with codes."""
    for spec in of_kind(CodedVariant, (variant.spec for variant in planned.variants.values())):
        ordering = job.make_identity("masks", {"quantise": "codes"}, parents={"variant": spec.id})
        yield CodeJob(ordering, spec, batch_tokens=spec.model.batch_tokens(planned.given.compute))


def _coded(planned: Planned, entry: VariantConfig, parent: PlannedVariant) -> Iterator[PlannedVariant]:
    config = entry.quantise
    assert config is not None, "the entry has codes"
    if entry.bits is not None:
        message = "quantise and bits are two ways to round weights"
        raise RecipeError(message, variant=entry.name, expected="one of them", got="both")
    if parent.spec.lacks_blocks:
        message = "the weights of a variant without whole blocks cannot be rounded"
        raise RecipeError(message, variant=entry.name, key="quantise", expected="no quantise", got="structure blocks")
    for group in _groups(entry, config, parent, planned.sets.default):
        yield _coded_variant(planned.given.compute, entry, parent, group)


def _groups(
    entry: VariantConfig, config: QuantiseConfig, parent: PlannedVariant, sets: PlannedSets
) -> list[tuple[PlannedSet, ...]]:
    """Return the sets of each variant: none for nearest, those of the parent, or named ones of its seed."""
    if config.method == "nearest":
        return [()]
    if not (config.names or entry.demonstrations or entry.over or parent.sets):
        message = "quantise reads demonstrations"
        expected = "demonstrations or over in quantise or in the entry, or method: nearest"
        raise RecipeError(message, variant=entry.name, expected=expected, got="none")
    reads_own = parent.sets and not config.names
    groups = [parent.sets] if reads_own else set_groups(config if config.names else entry, sets)
    fitting = of_seed(groups, parent.seed, variant=entry.name, key="quantise")
    for planned in (planned for group in fitting for planned in group):
        check_token_scope(planned, config.tokens)
    return fitting


def _coded_variant(
    compute: ComputeConfig, entry: VariantConfig, parent: PlannedVariant, group: tuple[PlannedSet, ...]
) -> PlannedVariant:
    config = entry.quantise
    assert config is not None, "the entry has codes"
    settings = CodeSettings(
        config.bits,
        config.method,
        config.group,
        config.symmetric,
        config.order,
        config.damping,
        config.propagation,
        config.tokens,
        normal_shares(config.shares if config.names else entry.shares) if len(group) > 1 else (),
    )
    model, set_ids = parent.spec.model, tuple(planned.id for planned in group)
    batch_tokens = model.batch_tokens(compute) if group else None
    parameters: dict[str, JsonValue] = job.computed_parameters(model, batch_tokens=batch_tokens)
    parameters["quantise"] = without_defaults(settings)
    parents: JsonObject = {
        "base_model": model.base_model_id,
        UNCODED: parent.id,
        "demonstration_sets": list[JsonValue](set_ids) or None,
    }
    identity = job.make_identity("variants", parameters, parents=parents)
    spec = CodedVariant(identity, model, parent.spec, settings, set_ids, tuple(planned.label for planned in group))
    return PlannedVariant(spec, group, parents=(parent,))
