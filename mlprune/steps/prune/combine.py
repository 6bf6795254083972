"""Combine the keep masks of variants by set operations (step `prune`)."""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.keep_masks import combined_masks
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import mask_path, read_keep_masks, write_block_masks
from mlprune.pruning.scoring import LayerLevels, described_levels
from mlprune.steps.job import ChainLoader, Identity, Job, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.cost import combination_cost
from mlprune.steps.prune.stored_masks import StoredMasks, require_masks
from mlprune.steps.prune.variant import CombinedVariant, block_identity
from mlprune.steps.prune.variant_rows import write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class CombineJob(Job):
    """Combine the keep masks of several variants, block by block."""

    step: ClassVar[str] = "prune"
    ordering: Identity
    variant: CombinedVariant

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant."""
        return (self.ordering.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variants that are combined."""
        return tuple(("variants", parent) for parent in self.variant.parent_ids)

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.ordering.key

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return combination_cost(self.step, sizes, n_parents=len(self.variant.parent_ids))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the masks of all blocks, then the records."""
        parents = [require_masks(store, parent) for parent in self.variant.parent_ids]
        blocks = parallel_map(lambda block: self._block(store, parents, block), range(self.variant.model.n_blocks))
        write_variants(store, self.ordering, list(blocks), (self.variant,))

    def _block(self, store: Store, parents: list[StoredMasks], block: int) -> Record:
        levels = combined_block(store, parents, block, variant=self.variant)
        artefact = write_block_masks(store, mask_path(self.ordering.id, block), levels)
        return block_identity(self.ordering.id, block, parents={"variant": self.variant.id}).record(
            artefacts=(artefact,)
        )


def combined_block(
    store: Store, parents: list[StoredMasks], block: int, *, variant: CombinedVariant
) -> dict[str, LayerLevels]:
    """Return layer -> the combined mask of one block, as levels 0 (removed) and 1 (kept)."""
    masks = [read_keep_masks(store.uri, *parent.files[block]) for parent in parents]
    combined = {layer: combined_masks([mask[layer] for mask in masks], variant.combination) for layer in masks[0]}
    return {layer: described_levels(mask.byte(), (variant.sparsity,)) for layer, mask in combined.items()}
