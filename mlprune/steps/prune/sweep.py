"""Prune a model block by block: observe a block after the pruned blocks before it, prune it, continue (step `sweep`).

All sets of a variant pass through the same pruned blocks. The statistics, masks and changed weights of a block are
recorded as soon as they exist. A sweep that was killed resumes there: it runs the finished blocks forward without
observing them again.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from mlprune.corpus.calibration import counted_tokens, token_batches
from mlprune.models.chain import Chain, advance_to
from mlprune.models.families.records import FAMILIES
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.models.shard import Shard
from mlprune.pruning.feature_factors import BlockStatistics, Factors, feature_factors
from mlprune.pruning.mask_files import mask_path, stored_keep_masks, write_block_masks
from mlprune.pruning.scoring import BlockLevels, LayerSparsities, block_levels, keep_masks
from mlprune.pruning.sparsegpt_block import sparsegpt_block
from mlprune.pruning.spec import ScoreSpec
from mlprune.pruning.weight_files import stored_weights, weights_path, write_block_weights
from mlprune.steps.job import ChainLoader, Identity, ModelJob, ModelRef, RecordKey
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSize, SetSizes
from mlprune.steps.observe.statistics_files import write_part
from mlprune.steps.prune.cost import sweep_cost
from mlprune.steps.prune.ordering import Ordering, sparsities_of
from mlprune.steps.prune.stored_masks import mask_artefacts, weight_artefacts
from mlprune.steps.prune.variant import Calibration, ScoredVariant, block_identity
from mlprune.steps.prune.variant_rows import write_variants
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

CONTRAST = "contrast"

Key = tuple[str, int]
"""(role, index of the batch) of the hidden states of a batch, which stay in the shards."""


@dataclass(frozen=True)
class _Batch:
    """A batch whose hidden states are in the shards."""

    demonstrations: tuple[int, ...]
    n_tokens: Tensor
    """[batch] int64, counted tokens of each demonstration."""


Batches = dict[Key, _Batch]


@dataclass(frozen=True)
class SweepJob(ModelJob):
    """Make one variant by a sweep over the blocks."""

    step: ClassVar[str] = "sweep"
    ordering: Identity
    variant: ScoredVariant
    calibration: Calibration
    """The variant's own."""
    outliers: str | None = None
    """Id of the outlier ratios of the dense model, for schedule owl."""

    @property
    def chain_model(self) -> ModelRef:
        """The model that is pruned."""
        return self.variant.model

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant."""
        return (self.ordering.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The demonstration sets and the outlier ratios."""
        sets = (*self.calibration.set_ids, self.calibration.contrast_set_id)
        ratios = (("outliers", self.outliers),) if self.outliers else ()
        return (*(("demonstration_sets", set_id) for set_id in sets if set_id), *ratios)

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
        changes_weights = self.variant.weights_changed
        return sweep_cost(self.step, sizes, size, batch_tokens=self.batch_tokens, changes_weights=changes_weights)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Prune all blocks, then write the records."""
        model = chain()
        model.everywhere(Shard.set_keep_masks, None)
        model.everywhere(Shard.sweep_clear)
        batches = self._start(store, model)
        records = []
        try:
            for block in range(model.n_blocks):
                advance_to(model, block, batches)
                records.append(self._prune(store, model, block, batches))
                if block + 1 < model.n_blocks:
                    model.on_block(block, Shard.sweep_advance, block, list(batches))
        finally:
            model.everywhere(Shard.sweep_clear)
        write_variants(store, self.ordering, records, (self.variant,))

    def _start(self, store: Store, model: Chain) -> Batches:
        """Embed all batches of all sets."""
        batches: Batches = {}
        for role, set_id in roles(self.calibration).items():
            table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
            counted = counted_tokens(table, self.calibration.selection.token_scope)
            cut = token_batches(table["token_ids"], batch_tokens=self.batch_tokens, counted=counted)
            for index, (demonstrations, batch) in enumerate(cut):
                model.on_block(0, Shard.sweep_start, (role, index), batch)
                batches[role, index] = _Batch(demonstrations, batch.counted.sum(dim=1))
        return batches

    def _prune(self, store: Store, model: Chain, block: int, batches: Batches) -> Record:
        """Prune one block, or apply the stored masks if the block is in the store."""
        identity = block_identity(self.variant.id, block, parents={"variant": self.variant.id})
        record = store.read_record(*identity.key)
        if record is not None and store.is_intact(record):
            _apply_stored(store, model, block, record)
            return record
        with_products = "products" in self.variant.score.method.needs
        sums = model.on_block(block, Shard.sweep_observe, block, list(batches), with_products=with_products)
        statistics = {role: _joined(sums, batches, role) for role in roles(self.calibration)}
        observed = list(self._write_statistics(store, block, sums, batches))
        chosen = self._choose(store, model, block, statistics)
        record = identity.record(artefacts=(*chosen, *observed))
        store.write_record(record)
        return record

    def _choose(
        self, store: Store, model: Chain, block: int, statistics: dict[str, BlockStatistics]
    ) -> tuple[Artefact, ...]:
        """Choose the masks in the shard that has the weights, apply them, and store them."""
        variant, family = self.variant, self.variant.model.family
        ordering = Ordering(variant.score, (variant.sparsity,), variant.schedule, variant.scope, outliers=self.outliers)
        sparsities = sparsities_of(store, FAMILIES[family], block, ordering)
        if variant.weights_changed:
            rewrite = partial(sparsegpt_block, score=variant.score, sparsities=sparsities, family=family)
            levels, weights = model.on_block(block, Shard.rewrite_block, block, rewrite)
            path = weights_path(variant.id, block)
            changed: tuple[Artefact, ...] = (write_block_weights(store, path, weights),)
        else:
            factors = swept_factors(self.calibration, statistics)
            prune = partial(
                choose_masks,
                score=variant.score,
                sparsities=sparsities,
                block=block,
                family=family,
                factors=factors,
            )
            levels, changed = model.on_block(block, Shard.prune_block, block, prune), ()
        return (write_block_masks(store, mask_path(self.ordering.id, block), levels), *changed)

    def _write_statistics(
        self, store: Store, block: int, sums: Mapping[Hashable, dict[str, Tensor]], batches: Batches
    ) -> Iterator[Artefact]:
        for role in roles(self.calibration):
            keys = [key for key in batches if key[0] == role]
            yield write_part(
                store,
                self.variant.id,
                block,
                role=role,
                demonstrations=[index for key in keys for index in batches[key].demonstrations],
                sums={name: torch.cat([sums[key][name] for key in keys]) for name in sums[keys[0]]},
                n_tokens=torch.cat([batches[key].n_tokens for key in keys]),
            )


def roles(calibration: Calibration) -> dict[str, str]:
    """Return role -> demonstration set. Roles are part of the names of statistics files; a single set has none."""
    several = len(calibration.set_ids) > 1
    named = {f"set-{n}" if several else "": set_id for n, set_id in enumerate(calibration.set_ids, start=1)}
    return named | ({CONTRAST: calibration.contrast_set_id} if calibration.contrast_set_id else {})


def swept_factors(calibration: Calibration, statistics: dict[str, BlockStatistics]) -> Factors:
    """Return the factors of a block's features from the statistics of all roles."""
    sets = [statistics[role] for role in roles(calibration) if role != CONTRAST]
    return feature_factors(sets, selection=calibration.selection, contrast=statistics.get(CONTRAST))


def choose_masks(
    weights: Mapping[str, Tensor],
    *,
    score: ScoreSpec,
    sparsities: LayerSparsities,
    block: int,
    family: str,
    factors: Factors,
) -> tuple[dict[str, Tensor], BlockLevels]:
    """Score a block and choose its masks, in the process of the shard that has its weights."""
    levels = block_levels(
        weights, score=score, sparsities=sparsities, block=block, family=FAMILIES[family], factors=factors
    )
    return keep_masks(levels, level=0), levels


def _apply_stored(store: Store, model: Chain, block: int, record: Record) -> None:
    """Apply the stored masks and weights of a block that was pruned before the sweep was interrupted."""
    masks, weights = mask_artefacts(record)[0], weight_artefacts(record)
    if weights:
        rewrite = partial(stored_weights, store_uri=store.uri, masks=masks, changed=weights[0])
        model.on_block(block, Shard.rewrite_block, block, rewrite)
    else:
        prune = partial(stored_keep_masks, store_uri=store.uri, artefact=masks, level=0)
        model.on_block(block, Shard.prune_block, block, prune)


def _joined(sums: Mapping[Hashable, dict[str, Tensor]], batches: Batches, role: str) -> BlockStatistics:
    """Return input -> [n, in] of one set, in the order of the demonstrations."""
    keys = [key for key in batches if key[0] == role]
    order = torch.tensor([index for key in keys for index in batches[key].demonstrations]).argsort()
    return {name: torch.cat([sums[key][name] for key in keys])[order] for name in sums[keys[0]]}
