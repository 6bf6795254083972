"""Neuron activity (opt-in): count how often each feed-forward neuron fires.

The counts of a set are a few integers per neuron, so the record contains them. Catalog queries derive
language-specific neurons from them.
"""

from dataclasses import dataclass

from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.models.inference.neuron_counting import ActiveNeuronVisitor
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.steps.job import ChainLoader
from mlprune.steps.job_cost import EMPTY_SET, JobCost, SetSizes
from mlprune.steps.observe.cost import COUNT_DIGITS, one_pass_cost
from mlprune.steps.observe.dense_pass import DensePassJob, dense_pass
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
