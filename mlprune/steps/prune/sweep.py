"""Prune a model block by block: observe a block after the pruned blocks before it, prune it, continue (step `sweep`).

All sets of a variant pass through the same pruned blocks. The statistics, masks and changed weights of a block are
recorded as soon as they exist. A sweep that was killed resumes there: it runs the finished blocks forward without
observing them again.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.models.chain import Chain
from mlprune.models.families.records import FAMILIES
from mlprune.models.messages import TokenBatch, WantedStatistics
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.replicas.shared_sweep import SharedSweep
from mlprune.models.shard import Shard
from mlprune.pruning.weight_files import StoredChanges
from mlprune.steps.job import ChainLoader, Identity, ModelJob, ModelRef, RecordKey
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSize, SetSizes
from mlprune.steps.loss_records import loss_keys
from mlprune.steps.prune.cost import MethodCost, sweep_cost
from mlprune.steps.prune.ordering import Ordering, sparsities_of
from mlprune.steps.prune.stored_masks import mask_artefacts, weight_artefacts
from mlprune.steps.prune.sweep_block import Batches, BlockPruning, Key, SweptBatch, roles
from mlprune.steps.prune.variant import Calibration, ScoredVariant, block_identity
from mlprune.steps.prune.variant_rows import write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class SweepJob(ModelJob):
    """Make one variant by a sweep over the blocks."""

    step: ClassVar[str] = "sweep"
    ordering: Identity
    variant: ScoredVariant
    calibration: Calibration
    """The variant's own."""
    block_values: RecordKey | None = None
    """Record of the values of blocks of the dense model that the schedule reads."""

    @property
    def chain_model(self) -> ModelRef:
        """The model that is pruned."""
        return self.variant.model

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant."""
        return (self.ordering.key, self.variant.identity.key)

    @property
    def intermediates(self) -> tuple[RecordKey, ...]:
        """The masks of the blocks."""
        return tuple(self._block_identity(block).key for block in range(self.variant.model.n_blocks))

    def _block_identity(self, block: int) -> Identity:
        return block_identity(self.variant.id, block, parents={"variant": self.variant.id})

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The demonstration sets, and the values of blocks or losses that the schedule reads."""
        sets = (*self.calibration.set_ids, self.calibration.contrast_set_id)
        values = (self.block_values,) if self.block_values else ()
        losses = loss_keys(self.variant.schedule)
        return (*(("demonstration_sets", set_id) for set_id in sets if set_id), *values, *losses)

    @property
    def shares_replicas(self) -> bool:
        """Whether only sums of squares are needed.

        Other statistics stay in one process, and the bits of Gram matrices depend on the order of tokens.
        """
        return set(self.variant.needs) <= {"squares"}

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.ordering.key

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over all sets together."""
        calibration = self.calibration
        ids = [set_id for set_id in (*calibration.set_ids, calibration.contrast_set_id) if set_id]
        set_sizes = [sets.get(set_id, EMPTY_SET) for set_id in ids]
        size = SetSize(sum(size.n_tokens for size in set_sizes), sum(size.n_demonstrations for size in set_sizes))
        return sweep_cost(
            self.step,
            sizes,
            size,
            batch_tokens=self.batch_tokens,
            score=self.variant.score,
            changes_weights=self.variant.weights_changed,
            method=MethodCost(
                self.variant.needs,
                len(calibration.set_ids),
                self.variant.weights_changed,
                n_demonstrations=size.n_demonstrations,
            ),
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Prune all blocks, then write the records."""
        model = chain()
        batches, token_batches = self._batches(store)
        sweep = SharedSweep(model, token_batches)
        records = []
        try:
            sweep.start()
            for block in range(model.n_blocks):
                sweep.change_replicas(block)
                record = self._prune(store, model, sweep, block=block, batches=batches)
                records.append(record)
                if block + 1 < model.n_blocks:
                    sweep.apply_elsewhere(partial(_apply_stored, store_uri=store.uri, block=block, record=record))
                    sweep.advance(block)
        finally:
            sweep.clear()
        write_variants(store, self.ordering, records, (self.variant,))

    def _batches(self, store: Store) -> tuple[Batches, dict[Hashable, TokenBatch]]:
        """Cut all sets into batches."""
        batches: dict[Key, SweptBatch] = {}
        cut_batches: dict[Hashable, TokenBatch] = {}
        for role, set_id in roles(self.calibration).items():
            table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
            counted = counted_tokens(table, self.calibration.selection.token_scope)
            cut = token_batches(table["token_ids"], batch_tokens=self.batch_tokens, counted=counted)
            for index, (demonstrations, batch) in enumerate(cut):
                cut_batches[role, index] = batch
                batches[role, index] = SweptBatch(demonstrations, tuple(batch.counted.sum(dim=1).tolist()))
        return batches, cut_batches

    def _prune(self, store: Store, model: Chain, sweep: SharedSweep, *, block: int, batches: Batches) -> Record:
        """Prune one block, or apply the stored masks if the block is in the store."""
        identity = self._block_identity(block)
        record = store.read_record(*identity.key)
        if record is not None and store.is_intact(record):
            _apply_stored(model, store_uri=store.uri, block=block, record=record)
            return record
        if record is not None:
            store.quarantine(record)
        needs, exact = self.variant.needs, self.variant.reads_exact_products
        wanted = WantedStatistics.of(needs, exact_products=exact)
        sweep.observe(block, with_products=exact and "products" in needs, wanted=wanted)
        swept = model.on_block(block, Shard.sweep_prune, block, self._pruning(store, block, batches))
        record = identity.record(artefacts=swept.files, rows=swept.rows)
        store.write_record(record)
        return record

    def _pruning(self, store: Store, block: int, batches: Batches) -> BlockPruning:
        """Return the function that the shard of a block calls to prune it."""
        variant = self.variant
        ordering = Ordering(variant, (variant.sparsity,), block_values=self.block_values)
        return BlockPruning(
            store.uri,
            variant,
            self.calibration,
            ordering_id=self.ordering.id,
            block=block,
            sparsities=sparsities_of(store, FAMILIES[variant.model.family], block, ordering),
            batches=batches,
        )


def _apply_stored(model: Chain, *, store_uri: str, block: int, record: Record) -> None:
    """Apply the stored masks and weights of a block that another replica or an interrupted sweep has pruned."""
    masks, weights = mask_artefacts(record), weight_artefacts(record)
    changed = {block: weights[0]} if weights else {}
    read = StoredChanges(store_uri, {block: masks[0]}, {block: 0}, changed)
    model.on_block(block, Shard.exchange_changes, read, blocks=[block])
