"""Lineage of records: everything that they were made from."""

from collections.abc import Sequence

from mlprune.steps.export.markdown import table
from mlprune.steps.prune.stored_masks import stored_masks
from mlprune.store.records import Record
from mlprune.store.store import Store


def with_ancestors(store: Store, records: Sequence[Record]) -> list[Record]:
    """Records and all records that they depend on, each once."""
    kinds = {record_id: kind for kind, record_id in store.record_names()}
    waiting, collected = list(records), dict[str, Record]()
    while waiting:
        record = waiting.pop(0)
        if record.id not in collected:
            collected[record.id] = record
            parents = [(role, parent) for role, parent in _parent_ids(store, record) if parent not in collected]
            waiting += [store.require(kinds.get(parent, role), parent) for role, parent in parents]
    return list(collected.values())


def _parent_ids(store: Store, record: Record) -> list[tuple[str, str]]:
    """(role, id) of what a record was made from; of a variant also its ordering or composition."""
    stored = stored_masks(store, record) if record.kind == "variants" else None
    source = (stored.composition or stored.record) if stored else None
    parents = {**record.parents, **({source.kind: source.id} if source else {})}
    return [
        (role, parent) for role, ids in sorted(parents.items()) for parent in ([ids] if isinstance(ids, str) else ids)
    ]


def lineage_table(store: Store, records: Sequence[Record]) -> str:
    """Records with the version of their step and their parents."""
    lines = [
        [record.kind, record.id, record.step_version, ", ".join(" ".join(pair) for pair in _parent_ids(store, record))]
        for record in records
    ]
    return table(("kind", "id", "step version", "made from"), lines)
