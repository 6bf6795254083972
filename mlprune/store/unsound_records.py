"""Records that are damaged or in quarantine and have no sound record in their place, as far as they can be read.

Their content is not to be trusted: they only say that something existed.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mlprune.json_values import JsonObject, parse_json
from mlprune.store.records import record_path
from mlprune.store.store import Store
from mlprune.store.succession import quarantined_copies

COUNTING: Final = ("recipes", "evaluations")
"""Kinds of records that still count when they are in quarantine: what was declared, and which results were known."""


@dataclass(frozen=True)
class UnsoundRecord:
    """One version of a record that was not accepted."""

    id: str
    """Of the record that was stored under this name."""
    path: str
    """Of the file, in its place or in quarantine."""
    text: bytes | None
    """None if it cannot be read."""

    @cached_property
    def fields(self) -> JsonObject:
        """Fields of the record as they were found, without any check; empty if the text is not JSON."""
        try:
            fields = parse_json(self.text or b"")
        except ValueError:
            return {}
        return fields if isinstance(fields, dict) else {}

    def values(self, name: str) -> JsonObject:
        """Return a field that is an object; an empty one if it is missing or something else."""
        value = self.fields.get(name)
        return value if isinstance(value, dict) else {}

    def rows(self, table: str) -> list[JsonObject]:
        """Return the rows for a table, without those that are not objects."""
        rows = self.values("rows").get(table)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def unsound_records(store: Store, kind: str, *, sound: Collection[str]) -> Iterator[UnsoundRecord]:
    """Yield the records of a kind that are damaged or in quarantine; it costs two listings, and reads only these files.

    Args:
        sound: ids of the records that were read; these are skipped.
    """
    for record_id in sorted(store.record_ids(kind).get(kind, set()) - set(sound)):
        yield UnsoundRecord(record_id, record_path(kind, record_id), _text_in_place(store, kind, record_id))
    for record_id, path in _copies(store, kind):
        if record_id not in sound:
            yield UnsoundRecord(record_id, path, _text(store, path))


def quarantine_listing(store: Store, kind: str) -> list[str]:
    """Return the paths of the records of a kind in quarantine, sorted. It costs one listing."""
    return [path for _, path in _copies(store, kind)]


def copies_that_count(store: Store) -> set[str]:
    """Return the paths of the quarantined declarations and evaluations that have no record in their place."""
    return {path for kind in COUNTING for one, path in _copies(store, kind) if not store.has_record(kind, one)}


def _copies(store: Store, kind: str) -> list[tuple[str, str]]:
    """Return (id, path) of each record of a kind in quarantine, sorted."""
    copies = quarantined_copies(store, prefix=f"records-{kind}-")
    return sorted((record_id, file.path) for (_, record_id), files in copies.items() for file in files)


def _text_in_place(store: Store, kind: str, record_id: str) -> bytes | None:
    text = _text(store, record_path(kind, record_id))
    if text is not None:
        return text
    try:
        return store.compacted.find(kind, record_id)
    except (OSError, ValueError):
        return None


def _text(store: Store, path: str) -> bytes | None:
    try:
        return store.read_file(path)
    except OSError:
        return None
