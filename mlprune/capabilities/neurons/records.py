"""The kinds of records and the table of variants that neurons add, and what makes these variants."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

NEURON_ACTIVITY = RecordKind(
    1,
    "demonstration set over which the firings of every feed-forward neuron are counted; its rows are the counts",
    tables={"neuron_activity": "neuron_activity_id"},
)
"""Kind of the counts, from which variants are made."""
NEURON_REMOVALS = RecordKind(
    1,
    "variant in whose masks the removed weights of every neuron are counted; its rows are the counts",
    tables={"neuron_removals": None},
    job="mlprune.capabilities.neurons.neuron_removals:NeuronRemovalsJob.of_record",
)
"""Kind of the removed weights of every neuron."""
NEURON_TABLES: Mapping[str, str | None] = {"variant_neurons": "variant_id"}
"""Table to which the record of a variant without neurons adds rows -> column with its id."""
VARIANTS: Mapping[str, str] = {"neurons": "mlprune.capabilities.neurons.neuron_masks:NeuronVariants"}
"""Structure -> class that makes its variants."""
