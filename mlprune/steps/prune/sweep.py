"""Prune a model block by block: observe a block after the pruned ones before it, prune it, continue (step `sweep`).

All sets of a variant pass through the same pruned blocks. The statistics, masks and changed weights of a block are
recorded as soon as they exist. A sweep that was killed resumes there: it runs the finished blocks forward without
observing them again.

A block is pruned, and its files are written, in the process that has its weights. Weights, levels, masks and statistics
do not leave that process; the job receives descriptions of the files.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.corpus.token_languages import Group
from mlprune.json_values import JsonObject, Row
from mlprune.models.chain import Chain
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.hooks import ROUTED
from mlprune.models.messages import SweepObservation, TokenBatch, WantedStatistics
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.models.shared_sweep import SharedSweep
from mlprune.numeric.activations.feature_sums import FeatureSums, feature_moments
from mlprune.numeric.activations.gram import mirrored
from mlprune.numeric.masks.packed_masks import PackedMask
from mlprune.processes.job_parts import in_parts, note_found_part
from mlprune.pruning.block_inputs import (
    BlockInputs,
    BlockStatistics,
    Factors,
    SetStatistics,
    block_inputs,
    demonstration_weights,
    feature_factors,
    reads_means,
)
from mlprune.pruning.block_pruning import PruningMethod, pruned_block
from mlprune.pruning.mask_files import StoredChanges, mask_path, weights_path, write_block_masks, write_block_weights
from mlprune.pruning.scoring import LayerSparsities, PrunedBlock, RefinedVariant, refinement_tables
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps import job
from mlprune.steps.loss_records import loss_keys
from mlprune.steps.observe.block_pass import GRADIENT_PASSES
from mlprune.steps.observe.expert_tokens import TABLE as EXPERT_TOKENS
from mlprune.steps.observe.expert_tokens import counted, expert_languages, expert_rows, grouped
from mlprune.steps.observe.statistics_files import DemonstrationSums, write_part
from mlprune.steps.prune.ordering import LEVEL_BYTES, ONLY_SCORES, MethodCost, Ordering, ordering_cost, sparsities_of
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.scored_variant import Calibration, ScoredVariant, block_identity
from mlprune.steps.variants.variant_rows import mask_artefacts, weight_artefacts, write_variants
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

CONTRAST = "contrast"

Key = tuple[str, int]
"""(role, index of the batch) of the hidden states of a batch, which stay in the shards."""


@dataclass(frozen=True)
class SweptBatch:
    """A batch whose hidden states are in the shards."""

    demonstrations: tuple[int, ...]
    n_tokens: tuple[int, ...]
    """Counted tokens of each demonstration."""


Batches = Mapping[Key, SweptBatch]


@dataclass(frozen=True)
class SweptBlock:
    """What the record of a swept block contains."""

    files: tuple[Artefact, ...]
    rows: Mapping[str, Sequence[JsonObject]]
    """Table -> rows; empty without a refiner."""


@dataclass(frozen=True)
class BlockPruning:
    """The function that a shard calls to prune one block of a sweep; see `Shard.sweep_prune`. Picklable."""

    store_uri: str
    variant: ScoredVariant
    calibration: Calibration
    """The variant's own."""
    ordering_id: str
    block: int
    sparsities: LayerSparsities
    batches: Batches
    groups: Mapping[str, tuple[Group, ...]]
    """Demonstration set -> groups by which the tokens of experts are counted; empty for a model without experts."""

    def __call__(
        self, weights: Mapping[str, Tensor], observation: SweepObservation
    ) -> tuple[Mapping[str, PackedMask], Mapping[str, Tensor], SweptBlock]:
        """Choose masks and new weights and write masks, changed weights and statistics.

        Returns: keep masks, new weights, and the written files in this order with the rows of the record.
        """
        store, files = Store(self.store_uri), list[Artefact]()
        pruned = self._choose(weights, observation)
        files.append(write_block_masks(store, mask_path(self.ordering_id, self.block), pruned.levels))
        if self.variant.weights_changed:
            files.append(write_block_weights(store, weights_path(self.variant.id, self.block), pruned.weights))
        files += self._write_statistics(store, observation)
        refined = RefinedVariant(self.variant.id, self.calibration.set_ids)
        tables = refinement_tables(pruned.refinements, refined, block=self.block)
        if expert_tokens := list(self._expert_tokens(observation)):
            tables |= {EXPERT_TOKENS: expert_tokens}
        masks = {layer: of_layer.packed.kept(0) for layer, of_layer in pruned.levels.items()}
        return masks, pruned.weights, SweptBlock(tuple(files), tables)

    def _expert_tokens(self, observation: SweepObservation) -> Iterator[Row]:
        """Yield the tokens of every set that reach each expert of the block, after the pruned blocks before it."""
        role_of = {set_id: role for role, set_id in roles(self.calibration).items()}
        for set_id, groups in self.groups.items():
            sums = [observation.sums[key] for key in _keys_of(self.batches, role_of[set_id])]
            if ROUTED in sums[0]:
                counts = {self.block: counted(of_batch[ROUTED] for of_batch in sums)}
                yield from expert_rows(self.variant.id, set_id, groups, counts)

    def _choose(self, weights: Mapping[str, Tensor], observation: SweepObservation) -> PrunedBlock:
        return pruned_block(
            weights,
            PruningMethod(self.variant.score, self.variant.refinement),
            sparsities=self.sparsities,
            inputs=self._inputs(observation),
            block=self.block,
            architecture=architecture_at(self.variant.model.path).block(self.block),
        )

    def _inputs(self, observation: SweepObservation) -> BlockInputs:
        """Return the statistics that the variant reads."""
        if self.variant.reads_exact_products:
            return BlockInputs(products=observation.products)
        statistics = {role: _joined(observation, self.batches, role) for role in roles(self.calibration)}
        per_demonstration = reads_means(self.variant.score)
        factors = swept_factors(self.calibration, statistics, per_demonstration=per_demonstration)
        sets = [self._set_statistics(observation, role) for role in roles(self.calibration) if role != CONTRAST]
        return block_inputs(factors, sets, shares=self.calibration.selection.shares)

    def _set_statistics(self, observation: SweepObservation, role: str) -> SetStatistics:
        """Return what was observed of one set besides sums of squares."""
        products = {name: mirrored(matrix) for name, matrix in observation.products_of_sets.get(role, {}).items()}
        moments = {}
        if observation.feature_sums:
            keys = _keys_of(self.batches, role)
            n_tokens = torch.tensor([n for key in keys for n in self.batches[key].n_tokens])
            order = _order(self.batches, keys)
            weights = demonstration_weights(len(order), self.calibration.selection)
            for name in observation.feature_sums[keys[0]]:
                of_batches = [observation.feature_sums[key][name] for key in keys]
                sums = FeatureSums(
                    torch.cat([sums.sums for sums in of_batches])[order],
                    torch.cat([sums.deviations for sums in of_batches])[order],
                )
                moments[name] = feature_moments(sums, n_tokens[order], weights)
        return SetStatistics(moments, products, observation.gradients.get(role, {}))

    def _write_statistics(self, store: Store, observation: SweepObservation) -> Iterator[Artefact]:
        """Write one file per set, with the demonstrations in the order of the batches."""
        for role in roles(self.calibration):
            keys = _keys_of(self.batches, role)
            yield write_part(
                store,
                self.variant.id,
                self.block,
                DemonstrationSums(
                    [index for key in keys for index in self.batches[key].demonstrations],
                    torch.tensor([n for key in keys for n in self.batches[key].n_tokens]),
                    _concatenated(observation, keys),
                ),
                role=role,
            )


def roles(calibration: Calibration) -> dict[str, str]:
    """Return role -> demonstration set. Roles are part of the names of statistics files; a single set has none."""
    several = len(calibration.set_ids) > 1
    named = {f"set-{n}" if several else "": set_id for n, set_id in enumerate(calibration.set_ids, start=1)}
    return named | ({CONTRAST: calibration.contrast_set_id} if calibration.contrast_set_id else {})


def swept_factors(
    calibration: Calibration, statistics: Mapping[str, BlockStatistics], *, per_demonstration: bool = False
) -> Factors:
    """Return the factors of a block's features from the statistics of all roles; see `feature_factors`."""
    sets = [statistics[role] for role in roles(calibration) if role != CONTRAST]
    against = statistics.get(CONTRAST)
    return feature_factors(sets, selection=calibration.selection, contrast=against, per_demonstration=per_demonstration)


def _joined(observation: SweepObservation, batches: Batches, role: str) -> BlockStatistics:
    """Return input -> [n, in] of one set, in the order of the demonstrations."""
    keys = _keys_of(batches, role)
    order = _order(batches, keys)
    return {name: rows[order] for name, rows in _concatenated(observation, keys).items()}


def _order(batches: Batches, keys: list[Key]) -> Tensor:
    """Return the positions of the demonstrations of a set in its batches."""
    return torch.tensor([index for key in keys for index in batches[key].demonstrations]).argsort()


def _concatenated(observation: SweepObservation, keys: list[Key]) -> dict[str, Tensor]:
    sums = [observation.sums[key] for key in keys]
    return {name: torch.cat([of_batch[name] for of_batch in sums]) for name in sums[0] if name != ROUTED}


def _keys_of(batches: Batches, role: str) -> list[Key]:
    return [key for key in batches if key[0] == role]


def sweep_cost(
    step: str,
    sizes: Footprint,
    size: job.SetSize,
    *,
    batch_tokens: int,
    score: ScoreSpec,
    method: MethodCost = ONLY_SCORES,
) -> job.JobCost:
    """Cost of pruning block after block, with statistics of the pruned blocks before.

    Args:
        size: of all demonstration sets of the sweep together.
        score: of the sweep.
        method: of the variant, if it reads more than sums of squares, or if new weights are computed from Gram matrices
            and stored.
    """
    ordering = ordering_cost(step, sizes, n_sparsities=1, permuted_group=score.permuted_group)
    changes_weights = method.changes_weights
    gram_bytes = 6 * 8 * sizes.widest**2 if changes_weights else 0
    weight_bytes = 4 * job.n_block_weights(sizes) if changes_weights else 0
    state_bytes = job.state_bytes(sizes, size.n_tokens)
    block_statistics_bytes = 4 * size.n_demonstrations * sizes.inputs
    gram_bytes = max(gram_bytes, method.fixed_bytes(sizes))
    fixed_bytes = ordering.fixed_bytes + state_bytes + gram_bytes + block_statistics_bytes
    layer_bytes = ordering.thread_bytes + score.method.bytes_per_weight * max(sizes.prunable)
    thread_bytes = max(layer_bytes, job.batch_bytes(sizes, batch_tokens))
    new_weight_bytes = sizes.itemsize if changes_weights else 0
    n_runs = 2 + (GRADIENT_PASSES if "gradients" in method.needs else 0)
    return replace(
        job.JobCost.dense_pass(step, sizes, size.n_tokens, thread_bytes=thread_bytes, n_runs=n_runs),
        fixed_bytes=fixed_bytes,
        device_fixed_bytes=fixed_bytes - job.SMALL_JOB_BYTES,
        transfer_bytes=sum(sizes.prunable) * (LEVEL_BYTES + new_weight_bytes) + block_statistics_bytes,
        disk_bytes=job.n_block_weights(sizes) / 8 + float(block_statistics_bytes) * len(sizes.blocks) + weight_bytes,
    )


@dataclass(frozen=True)
class SweepJob(job.ModelJob, MasksJob):
    """Make one variant by a sweep over the blocks."""

    step: ClassVar[str] = "sweep"
    variant: ScoredVariant
    calibration: Calibration
    """The variant's own."""
    block_values: job.RecordKey | None = None
    """Record of the values of blocks of the dense model that the schedule reads."""

    @property
    def chain_model(self) -> job.ModelRef:
        """The model that is pruned."""
        return self.variant.model

    @property
    def intermediates(self) -> tuple[job.RecordKey, ...]:
        """The masks of the blocks."""
        return tuple(self._block_identity(block).key for block in range(self.variant.model.n_blocks))

    def _block_identity(self, block: int) -> job.Identity:
        return block_identity(self.variant.id, block, parents={"variant": self.variant.id})

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
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

    def cost(self, sizes: Footprint, sets: job.SetSizes) -> job.JobCost:
        """One pass over all sets together."""
        calibration = self.calibration
        ids = [set_id for set_id in (*calibration.set_ids, calibration.contrast_set_id) if set_id]
        set_sizes = [sets.get(set_id, job.EMPTY_SET) for set_id in ids]
        size = job.SetSize(sum(size.n_tokens for size in set_sizes), sum(size.n_demonstrations for size in set_sizes))
        return sweep_cost(
            self.step,
            sizes,
            size,
            batch_tokens=self.batch_tokens,
            score=self.variant.score,
            method=MethodCost(
                self.variant.needs,
                len(calibration.set_ids),
                self.variant.weights_changed,
                self.variant.refinement is not None,
                n_demonstrations=size.n_demonstrations,
            ),
        )

    def run(self, store: Store, chain: job.ChainLoader) -> None:
        """Prune all blocks, then write the records."""
        model = chain()
        batches, token_batches = self._batches(store)
        sweep = SharedSweep(model, token_batches)
        records = []
        try:
            sweep.start()
            for block in in_parts("block", range(model.n_blocks)):
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
            flags = counted_tokens(table, self.calibration.selection.token_scope)
            cut = token_batches(table["token_ids"], batch_tokens=self.batch_tokens, counted=flags)
            if (languages := expert_languages(store, self.variant.model, set_id)) is not None:
                cut = grouped(languages, cut, table["sides"])
            for index, (demonstrations, batch) in enumerate(cut):
                cut_batches[role, index] = batch
                batches[role, index] = SweptBatch(demonstrations, tuple(batch.counted.sum(dim=1).tolist()))
        return batches, cut_batches

    def _prune(self, store: Store, model: Chain, sweep: SharedSweep, *, block: int, batches: Batches) -> Record:
        """Prune one block, or apply the stored masks if the block is in the store."""
        identity = self._block_identity(block)
        record = store.read_record(*identity.key)
        if record is not None and store.is_intact(record):
            note_found_part()
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
        sets = roles(self.calibration).values()
        languages = {set_id: expert_languages(store, variant.model, set_id) for set_id in sets}
        return BlockPruning(
            store.uri,
            variant,
            self.calibration,
            ordering_id=self.ordering.id,
            block=block,
            sparsities=sparsities_of(store, architecture_at(variant.model.path).block(block), block, ordering),
            batches=batches,
            groups={set_id: one.groups for set_id, one in languages.items() if one is not None},
        )


def _apply_stored(model: Chain, *, store_uri: str, block: int, record: Record) -> None:
    """Apply the stored masks and weights of a block that another replica or an interrupted sweep has pruned."""
    masks, weights = mask_artefacts(record), weight_artefacts(record)
    changed = {block: weights[0]} if weights else {}
    read = StoredChanges(store_uri, {block: masks[0]}, {block: 0}, changed)
    model.on_block(block, Shard.exchange_changes, read, blocks=[block])
