"""Neuron removals (opt-in): count how many weights every feed-forward neuron of a variant loses.

The counts are a few integers per neuron, so the record contains them.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from torch import Tensor

from mlprune.capabilities.capability import Planned
from mlprune.capabilities.neurons.language_neurons import removed_after, removed_before
from mlprune.json_values import JsonValue, as_str
from mlprune.models.architecture.architecture import Part
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.pruning.mask_files import Levels, read_keep_masks
from mlprune.steps.declared_job import DeclaredJob, Parent, StoredWork
from mlprune.steps.job import ChainLoader, JobCost, ModelRef, SetSizes
from mlprune.steps.variants.variant_rows import require_masks
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class NeuronRemovalsJob(DeclaredJob):
    """Count the removed weights before and after every neuron in the masks of a variant."""

    kind: ClassVar[str] = "neuron_removals"
    step: ClassVar[str] = "compare"
    model: ModelRef
    variant_id: Annotated[str, Parent("variant", "variants")]

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> Self:
        """Return the job that wrote a record; the model is that of the variant."""
        row = work.store.require("variants", record.parent("variant")).rows["variants"][0]
        return cls.with_stored(record, work, model=work.model(as_str(row["base_model_id"])))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """The masks of one block."""
        return JobCost.per_block(self.step, sizes, 4)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Count block by block and write the record."""
        stored, architecture = require_masks(store, self.variant_id), architecture_at(self.model.path)
        rows = [
            {
                "variant_id": self.variant_id,
                "block": block,
                **self._counts(store, artefact, levels, part=kind.feed_forward),
            }
            for block, (artefact, levels) in enumerate(stored.files)
            if (kind := architecture.block(block)).feed_forward is not None
        ]
        store.write_record(self.identity.record(rows={"neuron_removals": rows}))

    def _counts(self, store: Store, artefact: Artefact, levels: Levels, *, part: Part) -> dict[str, JsonValue]:
        before, after = part.before, part.after
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


def removal_jobs(planned: Planned) -> list[NeuronRemovalsJob]:
    """One job per pruned variant of the entries in `analyses.neuron_variants`."""
    names = set(planned.recipe.analyses.neuron_variants)
    pruned = (variant for variant in planned.variants.values() if not variant.lineage[-1].is_dense)
    ids = [variant.id for variant in pruned if names & {entry.name for entry in variant.entries}]
    return [NeuronRemovalsJob(planned.inputs.model, variant_id) for variant_id in ids]
