"""Base of the jobs that store the masks of one variant, as an ordering with one level."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mlprune.processes.job_parts import finished_parts
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.pruning.scoring import BlockLevels
from mlprune.steps.job import Identity, Job, RecordKey
from mlprune.steps.variants.scored_variant import block_identity
from mlprune.steps.variants.variant import VariantSpec
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class MasksJob(Job):
    """Store the masks of a variant."""

    step: ClassVar[str] = "prune"
    ordering: Identity
    variant: VariantSpec

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering, which has one level, and the variant."""
        return (self.ordering.key, self.variant.identity.key)

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.ordering.key

    def write_masks(
        self,
        store: Store,
        levels_of: Callable[[int], BlockLevels],
        *,
        further: Callable[[int], tuple[Artefact, ...]] = lambda _: (),
    ) -> list[Record]:
        """Write the masks of all blocks, as levels 0 (removed) and 1 (kept), and return their records.

        Args:
            further: writes other files of a block.
        """

        def write(block: int) -> Record:
            artefact = write_block_masks(store, mask_path(self.ordering.id, block), levels_of(block))
            identity = block_identity(self.ordering.id, block, parents={"variant": self.variant.id})
            return identity.record(artefacts=(artefact, *further(block)))

        n_blocks = self.variant.model.n_blocks
        return list(finished_parts("block", n_blocks, parallel_map(write, range(n_blocks))))
