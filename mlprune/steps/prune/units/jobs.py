"""Remove heads and neurons after FLAP (step `prune`): one job writes the masks and new biases of all blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mlprune.models.placement.memory_estimate import Footprint
from mlprune.processes.parallel import parallel_map
from mlprune.pruning.mask_files import mask_path, write_block_masks
from mlprune.pruning.scoring import BlockLevels
from mlprune.pruning.weight_files import biases_path, write_block_weights
from mlprune.steps.job import ChainLoader, Identity, Job, RecordKey
from mlprune.steps.job_cost import JobCost, SetSizes, most_demonstrations
from mlprune.steps.prune.cost import MethodCost, units_cost
from mlprune.steps.prune.ordering import Ordering, stored_inputs
from mlprune.steps.prune.units.choice import (
    ReadMoments,
    RemovedUnits,
    UnitModel,
    chosen_units,
    new_biases,
    unit_levels,
)
from mlprune.steps.prune.variant import ScoredVariant, block_identity
from mlprune.steps.prune.variant_rows import Row, write_variants
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class UnitsJob(Job):
    """Choose the heads and neurons of a variant over all blocks, and write its masks and biases."""

    step: ClassVar[str] = "prune"
    identity: Identity
    """Of the ordering, which has one level."""
    variant: ScoredVariant
    ordering: Ordering

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The ordering and the variant."""
        return (self.identity.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """Statistics."""
        return self.ordering.needs

    @property
    def artefact_record(self) -> RecordKey | None:
        """The ordering, which has the masks."""
        return self.identity.key

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        needs = tuple(name for name, _ in self.ordering.observations)
        method = MethodCost(needs, len(self.ordering.statistics), n_demonstrations=most_demonstrations(sets))
        return units_cost(self.step, sizes, method=method)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Choose the units, write the files of all blocks, then the records."""
        files, read_moments = UnitModel(self.variant.model), moments_reader(store, self.ordering)
        score, sparsity = self.variant.score, self.variant.sparsity
        units = chosen_units(files, score, sparsity=sparsity, read_moments=read_moments)
        removes = any(bool(one.removed.any()) for of_block in units for one in of_block)
        compensates = score.compensates and removes

        def write(block: int) -> Record:
            levels = unit_levels(files, units[block], block=block, sparsity=sparsity)
            artefacts = [write_block_masks(store, mask_path(self.identity.id, block), levels)]
            if compensates:
                biases = new_biases(files, units[block], block=block, read_moments=read_moments)
                artefacts.append(write_block_weights(store, biases_path(self.variant.id, block), biases))
            identity = block_identity(self.identity.id, block, parents={"variant": self.variant.id})
            return identity.record(artefacts=tuple(artefacts))

        blocks = list(parallel_map(write, range(self.variant.model.n_blocks)))
        columns: Row = {"biases_changed": True} if compensates else {}
        rows = {"pruned_units": unit_rows(self.variant.id, units)}
        write_variants(store, self.identity, blocks, (self.variant,), columns=columns, rows=rows)


def moments_reader(store: Store, ordering: Ordering) -> ReadMoments:
    """Return the function that reads the moments of a block."""
    return lambda block: stored_inputs(store, ordering, block=block).moments


def units_rebuilder(store: Store, variant: ScoredVariant, ordering: Ordering) -> Callable[[int], BlockLevels]:
    """Return the function that makes the levels of a block of a variant again."""
    files = UnitModel(variant.model)
    read_moments = moments_reader(store, ordering)
    units = chosen_units(files, variant.score, sparsity=variant.sparsity, read_moments=read_moments)
    return lambda block: unit_levels(files, units[block], block=block, sparsity=variant.sparsity)


def unit_rows(variant_id: str, units: tuple[tuple[RemovedUnits, ...], ...]) -> list[Row]:
    """Return the rows of table `pruned_units`."""
    return [
        {
            "variant_id": variant_id,
            "block": block,
            "kind": one.layout.kind,
            "n_units": one.layout.n_units,
            "n_removed": int(one.removed.sum()),
        }
        for block, of_block in enumerate(units)
        for one in of_block
    ]
