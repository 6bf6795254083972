"""Base of the jobs that make new weights of a finished variant, block by block, from demonstration sets.

The files of a block are recorded as soon as they exist, so that a killed job resumes with the next block.
"""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.json_values import JsonObject, Row
from mlprune.processes.job_parts import note_found_part
from mlprune.pruning.mask_files import StoredChanges
from mlprune.steps import job
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.scored_variant import block_identity
from mlprune.steps.variants.variant import DerivedVariant, rows_of_parent
from mlprune.steps.variants.variant_rows import artefacts_below, mask_artefacts, weight_artefacts
from mlprune.store.records import Record
from mlprune.store.store import Store


class VariantFromSets(DerivedVariant):
    """Another variant whose weights are made anew from demonstration sets. Subclasses have the sets as a field."""

    set_ids: tuple[str, ...]
    """Empty if no set is read."""


@dataclass(frozen=True)
class DerivedBlocksJob(MasksJob):
    """Make new weights of a finished variant, block by block."""

    step: ClassVar[str] = "sweep"
    needs_chain: ClassVar[bool] = True
    variant: VariantFromSets

    @property
    def chain_model(self) -> job.ModelRef:
        """The model that the variant changes."""
        return self.variant.model

    @property
    def intermediates(self) -> tuple[job.RecordKey, ...]:
        """The blocks."""
        return tuple(self.block_identity(block).key for block in range(self.variant.model.n_blocks))

    @property
    def needs(self) -> tuple[job.RecordKey, ...]:
        """The variant that it starts from, and the demonstration sets."""
        sets = (("demonstration_sets", set_id) for set_id in self.variant.set_ids)
        return (self.variant.parent.identity.key, *sets)

    def block_identity(self, block: int) -> job.Identity:
        """Return the identity of the record of a block."""
        return block_identity(self.ordering.id, block, parents={"variant": self.variant.id})

    def size_of_sets(self, sets: job.SetSizes) -> job.SetSize:
        """Return the size of all demonstration sets together."""
        sizes = [sets.get(set_id, job.EMPTY_SET) for set_id in self.variant.set_ids]
        return job.SetSize(*map(sum, zip(*sizes, strict=True))) if sizes else job.EMPTY_SET

    def finished_block(self, store: Store, block: int) -> Record | None:
        """Return the record of a block that is made; one with damaged files is set aside, and made again."""
        record = store.read_record(*self.block_identity(block).key)
        if record is not None and not store.is_intact(record):
            store.quarantine(record)
            return None
        if record is not None:
            note_found_part()
        return record

    def rows_from_parent(self, store: Store, *, role: str, columns: JsonObject) -> dict[str, list[Row]]:
        """Return the rows of the parent's record as the variant's, with the sets that the variant reads.

        Args:
            role: of the parent.
            columns: those of the variant that differ from the parent's.
        """
        of_parent = store.require(*self.variant.parent.identity.key)
        rows = rows_of_parent(self.variant.id, of_parent, role=role, columns=dict(columns))
        links: list[Row] = [
            {"variant_id": self.variant.id, "demonstration_set_id": set_id, "role": use, "weight": weight}
            for set_id, use, weight in self.variant.set_links()
        ]
        rows["variant_demonstrations"] = [*rows.get("variant_demonstrations", []), *links]
        return rows


def changes_of_block(store: Store, block: int, record: Record) -> StoredChanges:
    """Return the masks, weights and biases of a block in its record."""
    masks, weights, biases = mask_artefacts(record), weight_artefacts(record), artefacts_below(record, "biases/")
    of_biases = {block: biases[0]} if biases else {}
    return StoredChanges(store.uri, {block: masks[0]}, {block: 0}, {block: weights[0]}, biases=of_biases)
