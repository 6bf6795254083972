"""The kinds of records and the table of variants that smaller vocabularies add."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

OF_VARIANTS: Mapping[str, str | None] = {"vocabularies": "variant_id"}
"""Table to which the record of a variant with fewer tokens adds a row -> column with its id."""
KINDS: Mapping[str, RecordKind] = {
    "tokenizations": RecordKind(
        2,
        "variant with a smaller vocabulary and choice of lines in which its cost is measured, by language",
        tables={"tokenizations": "tokenizations_id"},
        shown_since=2,
    ),
}
"""The kind of the measured costs."""
