"""Neuron removals (opt-in): count how many weights every feed-forward neuron of a variant loses.

The counts are a few integers per neuron, so the record contains them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.models.families.records import FAMILIES
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.active_neurons import removed_after, removed_before
from mlprune.pruning.mask_files import Levels, read_keep_masks
from mlprune.recipe import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey, make_identity
from mlprune.steps.job_cost import JobCost, SetSizes
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.stored_masks import require_masks
from mlprune.store.records import Artefact
from mlprune.store.store import Store


@dataclass(frozen=True)
class NeuronRemovalsJob(RecordJob):
    """Count the removed weights before and after every neuron in the masks of a variant."""

    step: ClassVar[str] = "compare"
    family: str
    variant_id: str

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variant."""
        return (("variants", self.variant_id),)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """The masks of one block."""
        return JobCost(self.step, thread_bytes=4 * sum(sizes.prunable))

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Count block by block and write the record."""
        stored = require_masks(store, self.variant_id)
        rows = [
            {"variant_id": self.variant_id, "block": block, **self._counts(store, artefact, levels)}
            for block, (artefact, levels) in enumerate(stored.files)
        ]
        store.write_record(self.identity.record(rows={"neuron_removals": rows}))

    def _counts(self, store: Store, artefact: Artefact, levels: Levels) -> dict[str, JsonValue]:
        before, after = FAMILIES[self.family].feed_forward
        removed = {layer: ~kept for layer, kept in read_keep_masks(store.uri, artefact, levels).items()}
        n_neurons = removed[after].shape[1]
        counts = sum(removed_before(removed[layer], n_neurons) for layer in before)
        assert isinstance(counts, Tensor), "a layer writes the neurons"
        return {
            "n_before": sum(removed[layer].numel() for layer in before) // n_neurons,
            "n_after": removed[after].shape[0],
            "removed_before": counts.tolist(),
            "removed_after": removed_after(removed[after]).tolist(),
        }


def removal_jobs(recipe: Recipe, inputs: Inputs, variants: Iterable[PlannedVariant]) -> list[NeuronRemovalsJob]:
    """One job per pruned variant of the entries in `analyses.neuron_variants`."""
    names = set(recipe.analyses.neuron_variants)
    pruned = (variant for variant in variants if not variant.unquantised.is_dense)
    ids = [variant.id for variant in pruned if names & {entry.name for entry in variant.entries}]
    return [
        NeuronRemovalsJob(
            make_identity("neuron_removals", parents={"variant": variant_id}), inputs.model.family, variant_id
        )
        for variant_id in ids
    ]
