"""Stores as earlier versions of the package left them."""

import json

from mlprune.evaluation.scoring.predictions import CHOICE_SCHEMA
from mlprune.evaluation.scoring.translation import TRANSLATION_SCHEMA
from mlprune.steps.evaluate.results import FIRST_WITH_GROUPS
from mlprune.store.records import Record, identity
from mlprune.store.store import Store


def text_of_version_0_1(record: Record) -> bytes:
    """Return the text of a record file as version 0.1 wrote it, without a checksum."""
    fields = {**vars(record), "artefacts": [vars(artefact) for artefact in record.artefacts]}
    return (json.dumps(fields, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


NEW_COLUMNS = ("cluster", "category")
"""Columns of predictions that version 4 of the kind `evaluations` did not have."""


def to_version_4(store: Store) -> dict[str, Record]:
    """Replace all evaluations of a store by those of version 4; return the old ones by the id of their new version."""
    return to_version(store, 4)


def to_version(store: Store, version: int) -> dict[str, Record]:
    """Replace all evaluations of a store by those of version 4 or 5, as `to_version_4` does."""
    replaced, lacks_groups = {}, version < FIRST_WITH_GROUPS
    for record in list(store.records("evaluations")):
        (artefact,) = record.artefacts
        left_out = ("groups",) if lacks_groups else ()
        contents = {name: sha256 for name, sha256 in record.contents.items() if name not in left_out}
        inputs = {"parameters": record.parameters, "parents": record.parents, "contents": contents}
        record_id = identity("evaluations", step_version=version, **inputs)  # type: ignore[arg-type]
        columns = store.read_table(artefact)
        schema = CHOICE_SCHEMA if "candidate" in columns else TRANSLATION_SCHEMA
        old_schema = {name: kind for name, kind in schema.items() if not (lacks_groups and name in NEW_COLUMNS)}
        old_columns = {name: columns[name] for name in old_schema}
        written = store.write_table(f"predictions/{record_id}.parquet", old_columns, old_schema)
        old = Record("evaluations", record_id, version, artefacts=(written,), **inputs)  # type: ignore[arg-type]
        store.write_record(old)
        replaced[record.id] = old
        store.delete(artefact.path)
        store.delete(record.path)
    for kind in ("comparisons", "rank_consistency"):
        for record in list(store.records(kind)):
            store.delete(record.path)
    return replaced
