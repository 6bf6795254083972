"""Neuron activity and removals (opt-in): how often each feed-forward neuron fires, and how many weights it loses.

The counts of a set or variant are a few integers per neuron, so the record contains them. Catalog queries derive
language-specific neurons from them.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.models.families.records import FAMILIES
from mlprune.models.inference.neuron_counting import ActiveNeuronVisitor
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.active_neurons import removed_before, removed_behind
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.steps.job import ChainLoader, RecordJob, RecordKey
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSizes
from mlprune.steps.observe.cost import COUNT_DIGITS, one_pass_cost
from mlprune.steps.observe.dense_pass import DensePassJob, dense_pass
from mlprune.steps.prune.stored_masks import require_masks
from mlprune.store.records import Artefact
from mlprune.store.store import Store


@dataclass(frozen=True)
class NeuronActivityJob(DensePassJob):
    """Run a demonstration set through the dense model and count how often each neuron fires."""

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One pass over the set."""
        size = sets.get(self.demonstration_set_id, EMPTY_SET)
        disk_bytes = float(COUNT_DIGITS * sizes.widest * len(sizes.blocks))
        return one_pass_cost(self.step, sizes, size, batch_tokens=self.batch_tokens, disk_bytes=disk_bytes)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Sum the counts of all batches and write the record.

        Raises:
            StatisticsError: a counted activation is not finite.
        """
        totals: dict[int, Tensor] = {}
        n_tokens = 0
        for active in dense_pass(store, chain(), ActiveNeuronVisitor, job=self):
            n_tokens += active.n_tokens
            for block, counts in active.counts.items():
                totals[block] = totals[block] + counts if block in totals else counts
        store.write_record(self.identity.record(rows={"neuron_activity": self._rows(totals, n_tokens)}))

    def _rows(self, totals: dict[int, Tensor], n_tokens: int) -> list[dict[str, JsonValue]]:
        return [
            {
                "neuron_activity_id": self.identity.id,
                "base_model_id": self.model.base_model_id,
                "demonstration_set_id": self.demonstration_set_id,
                "block": block,
                "n_tokens": n_tokens,
                "n_active": totals[block].tolist(),
            }
            for block in sorted(totals)
        ]


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
            {"variant_id": self.variant_id, "block": block, **self._counts(store, artefact, stored.level)}
            for block, artefact in enumerate(stored.masks)
        ]
        store.write_record(self.identity.record(rows={"neuron_removals": rows}))

    def _counts(self, store: Store, artefact: Artefact, level: int) -> dict[str, JsonValue]:
        before, after = FAMILIES[self.family].feed_forward
        removed = {layer: ~kept for layer, kept in read_keep_masks(store.uri, artefact, level).items()}
        n_neurons = removed[after].shape[1]
        counts = sum(removed_before(removed[layer], n_neurons) for layer in before)
        assert isinstance(counts, Tensor), "a layer writes the neurons"
        return {
            "n_before": sum(removed[layer].numel() for layer in before) // n_neurons,
            "n_behind": removed[after].shape[0],
            "removed_before": counts.tolist(),
            "removed_behind": removed_behind(removed[after]).tolist(),
        }
