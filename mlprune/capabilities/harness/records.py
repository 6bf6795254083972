"""The kinds of records of lm-evaluation-harness."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

KINDS: Mapping[str, RecordKind] = {
    "harness_evaluations": RecordKind(
        2,
        "variant and task of the lm-evaluation-harness",
        folders=("harness",),
        tables={"harness_evaluations": "harness_id", "harness_results": "harness_id"},
    ),
    "external_results": RecordKind(
        1,
        "task of results that were computed elsewhere, and variant that they are attributed to",
        folders=("external",),
        tables={"external_evaluations": "external_id", "external_results": "external_id"},
    ),
}
"""The kinds of results that the harness computed here, and of those that it computed elsewhere."""
