"""The kinds of records that searches add."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

KINDS: Mapping[str, RecordKind] = {
    "search_batches": RecordKind(
        1,
        "batch of trials that a search proposed, so that a killed search resumes; its rows are the trials",
        tables={"search_trials": "batch_id"},
    ),
    "searches": RecordKind(
        1,
        "finished search: the winner on dev, and its value on the split of the report",
        tables={"searches": "result_id", "search_finalists": "result_id"},
    ),
}
"""The kinds of the batches and of the reports, in their order."""
