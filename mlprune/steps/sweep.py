"""Step `sweep`, sequential propagation: observe and prune block by block, each behind the pruned ones.

Statistics and masks of a block are recorded as soon as they are there: a sweep that was killed runs the pruned blocks
forward, without observing, and goes on where it stopped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mlprune.corpus.calibration import token_batches
from mlprune.models.chain import Chain, advance_to
from mlprune.models.families import FAMILIES
from mlprune.pruning.mask_files import mask_path, stored_keep_masks, write_block_masks
from mlprune.pruning.scoring import BlockLevels, BlockStatistics, ScoreChoice, block_levels, keep_masks
from mlprune.records import Artefact, Record
from mlprune.steps.jobs import ChainLoader, Identity, Job, RecordKey
from mlprune.steps.prune import VariantSpec, block_identity, mask_artefacts, write_variants
from mlprune.steps.statistics_files import write_part
from mlprune.storage import Store

Key = tuple[str, int]
"""(role, index of the batch): names the states of a batch that stay in the shards."""

ROLES = ("", "contrast")


@dataclass(frozen=True)
class SweepJob(Job):
    """Make one variant by a sequential sweep."""

    step: ClassVar[str] = "sweep"
    needs_chain: ClassVar[bool] = True
    ordering: Identity
    variant: VariantSpec
    batch_tokens: int

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant."""
        return (self.ordering.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The sets."""
        sets = (self.variant.demonstration_set_id, self.variant.contrast_set_id)
        return tuple(("demonstration_sets", one) for one in sets if one)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Sweep over the blocks, then write the variant."""
        model = chain()
        model.everywhere("set_keep_masks", None)
        model.everywhere("sweep_clear")
        tokens = self._start(store, model)
        records = []
        try:
            for block in range(model.n_blocks):
                advance_to(model, block, tokens)
                records.append(self._prune(store, model, block, tokens))
                if block + 1 < model.n_blocks:
                    for key in tokens:
                        model.on_block(block, "sweep_advance", block, key)
        finally:
            model.everywhere("sweep_clear")
        write_variants(store, self.ordering, records, (self.variant,))

    def _start(self, store: Store, model: Chain) -> dict[Key, Tensor]:
        """Embed all batches; returns key -> [b] counted tokens of each demonstration."""
        counts: dict[Key, Tensor] = {}
        for role, set_id in zip(ROLES, (self.variant.demonstration_set_id, self.variant.contrast_set_id), strict=True):
            if set_id is None:
                continue
            table = store.read_table(store.require("demonstration_sets", set_id).artefacts[0])
            for index, batch in enumerate(token_batches(table["token_ids"], batch_tokens=self.batch_tokens)):
                model.on_block(0, "sweep_start", (role, index), batch)
                counts[role, index] = batch.counted.sum(dim=1)
        return counts

    def _prune(self, store: Store, model: Chain, block: int, tokens: dict[Key, Tensor]) -> Record:
        """Prune one block, from the store where that was done before."""
        identity = block_identity(self.variant.id, block, parents={"variant": self.variant.id})
        record = store.read_record(*identity.key)
        if record is not None and store.is_intact(record):
            masks = mask_artefacts(record)[0]
            model.on_block(block, "prune_block", block, stored_keep_masks, store.uri, masks, 0)
            return record
        statistics = {role: found for role in ROLES if (found := self._observe(model, block, role, tokens))}
        written = list(self._write_statistics(store, block, statistics, tokens))
        choice = self.variant.choice
        assert choice is not None, "a sweep has a score"
        family = self.variant.model.family
        arguments = (choice, self.variant.sparsity, block, family, statistics[""], statistics.get("contrast"))
        found = model.on_block(block, "prune_block", block, choose_masks, *arguments)
        path = mask_path(self.ordering.id, block)
        masks = write_block_masks(store, path, found, sparsities=(self.variant.sparsity,))
        record = identity.record(artefacts=(masks, *written))
        store.write_record(record)
        return record

    def _observe(self, model: Chain, block: int, role: str, tokens: dict[Key, Tensor]) -> BlockStatistics:
        """Input -> [n, in] of one set, in demonstration order."""
        found = [model.on_block(block, "sweep_observe", block, key) for key in tokens if key[0] == role]
        return {name: torch.cat([one[name] for one in found]) for name in (found[0] if found else {})}

    def _write_statistics(
        self, store: Store, block: int, statistics: dict[str, BlockStatistics], tokens: dict[Key, Tensor]
    ) -> Iterator[Artefact]:
        for role, sums in statistics.items():
            n_tokens = torch.cat([counts for key, counts in tokens.items() if key[0] == role])
            yield write_part(store, self.variant.id, block, first=0, sums=dict(sums), n_tokens=n_tokens, role=role)


def choose_masks(  # noqa: PLR0917 - a shard passes arguments on by position
    weights: dict[str, Tensor],
    choice: ScoreChoice,
    sparsity: float,
    block: int,
    family: str,
    statistics: BlockStatistics,
    contrast: BlockStatistics | None,
) -> tuple[dict[str, Tensor], BlockLevels]:
    """Score a block and choose its masks, in the process of the shard that holds its weights."""
    options: dict[str, Any] = {"statistics": statistics, "contrast": contrast}
    found = block_levels(
        weights, choice=choice, sparsities=(sparsity,), block=block, family=FAMILIES[family], **options
    )
    return keep_masks(found, level=0), found
