"""Records that are made again after they were moved to quarantine, and the records computed from them.

Every record carries its checksum. If the new record has the checksum of the one it replaces, everything that was
computed from it stays. If it differs, or if the old checksum cannot be read, the records computed from it are moved to
quarantine before the new record is written, so this holds even if the process is killed in between.
"""

import logging
import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from mlprune.json_values import as_int, as_str
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.records import Record, RecordKey, parent_ids, stated_checksum

logger = logging.getLogger(__name__)

QUARANTINE = "quarantine"
_COPY = re.compile(QUARANTINE + r"/records-([a-z][a-z0-9_]*)-([0-9a-f]+)\.json\.[0-9a-f]{8}")
"""Path of a record in quarantine."""


class Records(Protocol):
    """The operations of a store that this module needs."""

    def files_in(self, folder: str, *, prefix: str = "") -> Iterable[FileInfo]:
        """The files directly in a folder whose names start with a prefix."""

    def read_file(self, path: str) -> bytes | None:
        """The content of a file, None if it does not exist."""

    def records(self) -> Iterator[Record]:
        """All sound records."""

    def quarantine(self, record: Record) -> None:
        """Move a record to quarantine."""


def quarantined_copies(store: Records, *, prefix: str = "") -> dict[RecordKey, list[FileInfo]]:
    """Return (kind, id) -> its copies in quarantine, the newest last. It costs one listing.

    Args:
        prefix: of the names of the files that are looked at.
    """
    copies: dict[RecordKey, list[FileInfo]] = defaultdict(list)
    for file in sorted(store.files_in(QUARANTINE, prefix=prefix), key=lambda file: file.modified_at):
        if match := _COPY.fullmatch(file.path):
            copies[match[1], match[2]].append(file)
    return dict(copies)


def n_quarantined(store: Records) -> int:
    """Return the number of records in quarantine, every version of a record counted."""
    return sum(len(copies) for copies in quarantined_copies(store).values())


def quarantine_outdated(store: Records, record: Record, text: bytes) -> list[RecordKey]:
    """Quarantine what was computed from another version of a record; call it before the record is written.

    Args:
        text: the record as it will be written.
    Returns: (kind, id) of the quarantined records; empty without another version.
    """
    name = record.path.replace("/", "-")
    copies = quarantined_copies(store, prefix=name).get((record.kind, record.id), [])
    newest = [copy for copy in copies if copy.modified_at == copies[-1].modified_at]
    checksum = stated_checksum(text)
    if not copies or store.read_file(record.path) == text:
        return []
    if all(stated_checksum(store.read_file(copy.path) or b"") == checksum for copy in newest):
        return []
    return quarantine_dependents(store, [record])


def quarantine_dependents(store: Records, changed: Iterable[Record]) -> list[RecordKey]:
    """Quarantine all records that were computed from some records, directly or not; return their (kind, id)."""
    changed = list(changed)
    present = {(record.kind, record.id): record for record in store.records()}
    keys = [key for key in _dependents(present, changed) if key in present]
    for key in keys:
        store.quarantine(present[key])
    if keys:
        names = ", ".join(f"{record.kind}/{record.id}" for record in changed[:3])
        logger.warning("%d records computed from another version of %s are made again", len(keys), names)
    return keys


def _dependents(present: Mapping[RecordKey, Record], changed: list[Record]) -> list[RecordKey]:
    """Return (kind, id) of all records that depend on some records, nearest first, without those records."""
    children: dict[str, list[RecordKey]] = defaultdict(list)
    for key, record in {**present, **{(record.kind, record.id): record for record in changed}}.items():
        for parent in parent_ids(record):
            children[parent].append(key)
        for child in _children_by_content(record):
            children[record.id].append(child)
    start = {(record.kind, record.id) for record in changed}
    kept = {key for key, record in present.items() if any(_is_source(record, other) for other in changed)}
    found: dict[RecordKey, None] = {}
    waiting = deque(record.id for record in changed)
    while waiting:
        for key in children.get(waiting.popleft(), ()):
            if key not in found and key not in start and key not in kept:
                found[key] = None
                waiting.append(key[1])
    return list(found)


def _children_by_content(record: Record) -> Iterator[RecordKey]:
    """Yield the records that depend on a record without naming it as a parent.

    The id of a variant does not depend on the ordering that contains its masks, or that they are composed from. The
    blocks of an ordering name it, and those of a sweep its variant.
    """
    if record.kind == "masks":
        for row in record.rows.get("ordering_variants", ()):
            yield "variants", as_str(row["variant_id"])
    elif record.kind == "mask_compositions":
        yield "variants", record.parent("variant")
    elif record.kind == "mask_blocks":
        made_of_blocks = as_str(record.parameters["ordering"])
        yield from (("masks", made_of_blocks), ("variants", made_of_blocks))


def _is_source(record: Record, changed: Record) -> bool:
    """Whether the changed record was computed from a record that names it, or its variant, as a parent.

    The masks of a sweep or a combination, their blocks, and a composition name the variant that is described from them.
    """
    if record.kind not in ("masks", "mask_blocks", "mask_compositions"):
        return False
    if changed.kind == "variants":
        return record.parents.get("variant") == changed.id
    if record.kind != "mask_blocks":
        return False
    if changed.kind == "masks":
        return record.parameters["ordering"] in (changed.id, changed.parents.get("variant"))
    same_ordering = changed.kind == "mask_blocks" and record.parameters["ordering"] == changed.parameters["ordering"]
    return same_ordering and as_int(record.parameters["block"]) < as_int(changed.parameters["block"])
