"""Neuron activity (opt-in): count how often each feed-forward neuron fires in the dense model.

The counts of a set are a few integers per neuron, so the record contains them. Catalog queries derive
language-specific neurons from them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from mlprune.capabilities.capability import Planned
from mlprune.errors import RecipeError, statistics_context
from mlprune.json_values import JsonValue
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.inference.visitor import BatchVisitor
from mlprune.models.messages import HiddenStates
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.activations.accelerator_statistics import check_counts, submit_active_counts
from mlprune.steps.job import ChainLoader
from mlprune.steps.observe.dense_pass import DensePassJob, dense_pass, pass_jobs
from mlprune.store.store import Store

if TYPE_CHECKING:
    from mlprune.models.inference.block_runner import BlockRunner

COUNT_DIGITS = 6
"""Bytes of one count in a record, as text."""


@dataclass(frozen=True)
class ActiveNeurons:
    """Counts of a batch from all blocks, on the CPU."""

    counts: Mapping[int, Tensor]
    """Block -> [neurons] int64, counted tokens at which a neuron fires."""
    n_tokens: int
    """Counted tokens."""


@dataclass
class ActiveNeuronVisitor(BatchVisitor[ActiveNeurons]):
    """Count how often each feed-forward neuron fires.

    Raises:
        StatisticsError: a counted activation is not finite; the block is named.
    """

    counts: dict[int, Tensor] = field(init=False, default_factory=dict)

    def around_block(self, runner: "BlockRunner", block: int, states: HiddenStates) -> HiddenStates:
        """Run a block and count its active neurons."""
        counted, counts = self.counted, list[Tensor]()

        def count(activations: Tensor) -> None:
            counts.append(submit_active_counts(activations.reshape(*counted.mask.shape, -1), counted))

        with statistics_context(block=block), runner.hooks.listening(neurons=count):
            states_after = runner.step(block, states)
        (block_counts,) = counts
        self.gather(block, "neurons", block_counts)
        return states_after

    def keep(self, block: int, name: str, tensor: Tensor) -> None:
        """Keep the counts of a block."""
        with statistics_context(block=block):
            check_counts(tensor)
        self.counts[block] = tensor

    def result(self) -> ActiveNeurons:
        """Return the counts of all blocks."""
        return ActiveNeurons(self.counts, int(self.batch.counted.sum()))


@dataclass(frozen=True)
class NeuronActivityJob(DensePassJob):
    """Run a demonstration set through the dense model and count how often each neuron fires."""

    def stored_bytes(self, sizes: Footprint) -> float:
        """A count per neuron."""
        return float(COUNT_DIGITS * sizes.widest * len(sizes.blocks))

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


def neuron_jobs(planned: Planned) -> list[NeuronActivityJob]:
    """One job per distinct set with a name in `analyses.neurons`, or in `neurons` of a variant."""
    recipe = planned.recipe
    of_variants = [name for entry in recipe.variants if entry.neurons is not None for name in entry.neurons.sets]
    return activity_jobs(planned, (*recipe.analyses.neurons, *of_variants))


def activity_jobs(planned: Planned, names: Collection[str]) -> list[NeuronActivityJob]:
    """One job per distinct set with one of the names, which counts how often each neuron fires.

    Raises:
        RecipeError: a block of the model has no neurons to count.
    """
    architecture = architecture_at(planned.inputs.model.path)
    if names and any(kind.activation is None for kind in architecture.kinds):
        message = "a kind of block has no feed-forward neurons whose activations can be counted"
        raise RecipeError(message, key="neurons", model_type=architecture.name, got=list(names))
    sets = planned.sets.default
    return pass_jobs(NeuronActivityJob, "neuron_activity", planned.recipe, planned.inputs, sets, names=names)
