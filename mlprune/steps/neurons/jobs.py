"""Write the masks of a variant without feed-forward neurons, once the neurons of all its sets are counted."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.steps.job import ChainLoader, Identity, Job, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.neurons.selection import neuron_levels, removed_neurons
from mlprune.steps.neurons.variant import NeuronVariant
from mlprune.steps.prune.cost import combination_cost
from mlprune.steps.prune.variant import block_identity
from mlprune.steps.prune.variant_rows import Row, write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class NeuronMasksJob(Job):
    """Choose the neurons of a variant and write its masks."""

    step: ClassVar[str] = "prune"
    ordering: Identity
    variant: NeuronVariant

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant."""
        return (self.ordering.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The counts of all sets."""
        return tuple(("neuron_activity", activity_id) for activity_id in self.variant.activity_ids)

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.ordering.key

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return combination_cost(self.step, sizes, n_parents=1)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the masks of all blocks, then the records.

        Raises:
            StatisticsError: a language has no counted tokens, or a block too few neurons for a random control.
        """
        removed = removed_neurons(store, self.variant)

        def write(block: int) -> Record:
            return self._write_block(store, block, removed[block])

        blocks = list(parallel_map(write, range(len(removed))))
        rows = {"variant_neurons": [self._row(block, of_block) for block, of_block in enumerate(removed)]}
        write_variants(store, self.ordering, blocks, (self.variant,), rows=rows)

    def _write_block(self, store: Store, block: int, removed: Tensor) -> Record:
        levels = neuron_levels(self.variant.model, block, removed, sparsity=self.variant.sparsity)
        artefact = write_block_masks(store, mask_path(self.ordering.id, block), levels)
        identity = block_identity(self.ordering.id, block, parents={"variant": self.variant.id})
        return identity.record(artefacts=(artefact,))

    def _row(self, block: int, removed: Tensor) -> Row:
        return {
            "variant_id": self.variant.id,
            "block": block,
            "n_neurons": len(removed),
            "n_removed": int(removed.sum()),
            "removed": torch.nonzero(removed).flatten().tolist(),
        }
