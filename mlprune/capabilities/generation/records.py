"""The kinds of records that generated texts add."""

from collections.abc import Mapping

from mlprune.store.record_kind import RecordKind

KINDS: Mapping[str, RecordKind] = {
    "generated_texts": RecordKind(
        1,
        "language, prompt, temperature and seed of texts that the dense model writes, for demonstrations `generated`",
        folders=("generated",),
        tables={"generated_texts": "generated_texts_id"},
    ),
    "text_pass_rates": RecordKind(
        1, "set of generated texts, metrics and detector", tables={"text_pass_rates": "text_pass_rates_id"}
    ),
}
"""Name of the kind -> what there is to know of it."""
