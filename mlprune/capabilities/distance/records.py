"""The kind of records that distances add."""

from mlprune.store.record_kind import RecordKind

DENSE_STATES = RecordKind(
    1,
    "task, language and split whose texts ran through the dense model, with its last hidden states",
    folders=("dense_states",),
    retires=True,
)
"""Kind of the states, from which the dense model's distributions are computed again."""
