"""Compaction: record files become lines of a few segments, and small segments become larger ones.

A segment is written completely before the files it replaces are removed, so no record is ever missing. If the process
dies between the two steps, records are in both places until the next compaction, and count once. An advisory claim
keeps two compactions of one kind apart. Runs may write to the store at the same time.
"""

import heapq
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlprune.errors import DamagedRecordError, StoreError, TransientError
from mlprune.store.claims import Claims
from mlprune.store.records import one_line, parse_record, record_path
from mlprune.store.segments import VOID, segment_bytes, segment_folder, segment_path, void_path
from mlprune.store.store import REQUESTS_AT_ONCE, Store

logger = logging.getLogger(__name__)

COMPACT_FROM = 5_000
"""Number of record files of one kind from which a run compacts them at its end."""
SEGMENT_BYTES = 64 << 20
"""Uncompressed size at which a segment ends, after the record that reaches it."""
MERGE_FROM = 8
"""Number of small segments of one kind, below half of `SEGMENT_BYTES` each, from which they are merged."""
READ_AT_ONCE = 512
"""Record files that are requested at a time."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did."""

    n_records: int = 0
    """Record files that became lines of a segment."""
    n_segments: int = 0
    """Segments written."""

    def __add__(self, other: "Compaction") -> "Compaction":
        return Compaction(self.n_records + other.n_records, self.n_segments + other.n_segments)


def compact(store: Store, *, at_least: int = 1, owner: str = "compaction") -> Compaction:
    """Compact the records of every kind that has many record files or segments.

    Args:
        at_least: number of record files of a kind from which they are compacted.
        owner: name of this compaction, for messages of other processes.
    Raises:
        StoreError: the store cannot be written.
    """
    store.require_writable()
    record_ids: dict[str, list[str]] = {}
    segments: dict[str, list[str]] = {}
    for path in store.list("records"):
        parts = path.split("/")
        if len(parts) == 3 and path.endswith(".json"):
            record_ids.setdefault(parts[1], []).append(parts[2].removesuffix(".json"))
        elif len(parts) == 4 and parts[2] == "segments":
            segments.setdefault(parts[1], []).append(path)
    compaction = Compaction()
    with Claims(store, owner) as claims:
        for kind in sorted(record_ids.keys() | segments.keys()):
            ids = record_ids.get(kind, [])
            ids = ids if len(ids) >= at_least else []
            if ids or _may_need_merge(segments.get(kind, [])):
                compaction += _compact_claimed(store, kind, claims=claims, ids=ids, segments=segments.get(kind, []))
    return compaction


def compact_if_many(store: Store) -> Compaction:
    """Compact kinds with `COMPACT_FROM` record files or more. A failure is logged and does not fail the run."""
    try:
        return compact(store, at_least=COMPACT_FROM, owner="a run at its end")
    except (StoreError, TransientError) as err:
        logger.warning("the records are not compacted: %s", err)
        return Compaction()


def _may_need_merge(segment_files: Sequence[str]) -> bool:
    return len(segment_files) >= MERGE_FROM or any(path.endswith(VOID) for path in segment_files)


def _compact_claimed(
    store: Store, kind: str, *, claims: Claims, ids: Sequence[str], segments: Sequence[str]
) -> Compaction:
    """Compact a kind unless another process is compacting it."""
    key = ("segments", kind)
    if not claims.take(key):
        logger.warning("the records of %s are being compacted by %s", kind, claims.owner_of(key))
        return Compaction()
    try:
        return _compact_kind(store, kind, ids=ids, segments=segments)
    except OSError as err:
        raise StoreError("records cannot be compacted", store=store.uri, reason=str(err)) from err
    finally:
        claims.release(key)


def _compact_kind(store: Store, kind: str, *, ids: Sequence[str], segments: Sequence[str]) -> Compaction:
    """Write the record files of a kind to segments; then merge small segments."""
    compaction = Compaction()
    for group in _groups(_read(store, kind, ids)):
        path = _write(store, kind, group)
        record_files = set(store.list(f"records/{kind}"))
        for record_id, _ in group:
            if record_path(kind, record_id) not in record_files:  # moved to quarantine since it was read
                store.write_bytes(void_path(path, record_id), b"\n")
            store.delete(record_path(kind, record_id))
        compaction += Compaction(len(group), 1)
    if compaction.n_segments:
        store.compacted.refresh(kind)
    else:
        store.compacted.update(kind, segments)
    return compaction + _merge(store, kind)


def _merge(store: Store, kind: str) -> Compaction:
    """Write the lines of small segments to larger ones, without voided records; then remove the small segments."""
    merged = [path for path in _mergeable(store, kind) if _is_intact(store, kind, path)]
    if not merged:
        return Compaction()
    void = {path: store.compacted.void_ids(kind, path) for path in merged}
    segment_of: dict[str, str] = {}
    """Id of a record -> the new segment it is in."""
    n_segments = 0
    for group in _groups(_distinct(store, kind, void)):
        path = _write(store, kind, group)
        segment_of |= {record_id: path for record_id, _ in group}
        n_segments += 1
    files = set(store.list(segment_folder(kind)))
    for path in merged:
        ids = store.compacted.segments(kind)[path].positions
        markers = {marker: record_id for record_id in ids if (marker := void_path(path, record_id)) in files}
        voided_since = {record_id for record_id in markers.values() if record_id not in void[path]}
        for record_id in sorted(voided_since & segment_of.keys()):  # moved to quarantine since it was read
            store.write_bytes(void_path(segment_of[record_id], record_id), b"\n")
        store.delete(path)
        for marker in markers:
            store.delete(marker)
    store.compacted.refresh(kind)
    return Compaction(0, n_segments)


def _mergeable(store: Store, kind: str) -> list[str]:
    """List the segments with voided records and, if there are many, the small segments."""
    segments = store.compacted.segments(kind)
    small = [
        path for path, index in segments.items() if sum(block.n_raw for block in index.blocks) < SEGMENT_BYTES // 2
    ]
    voided = {path for path in segments if store.compacted.void_ids(kind, path)}
    return sorted(voided.union(small if len(small) >= MERGE_FROM else []))


def _is_intact(store: Store, kind: str, path: str) -> bool:
    try:
        for record_id, line in store.compacted.lines(kind, path):
            parse_record(line, kind=kind, record_id=record_id)
    except (ValueError, OSError, DamagedRecordError) as err:
        logger.warning("segment %s cannot be read (%s): not merged", path, err)
        return False
    return True


def _distinct(store: Store, kind: str, void: Mapping[str, set[str]]) -> Iterator[tuple[str, bytes]]:
    """Yield (id, line) of the records of some segments in the order of ids, each once and without the voided ones."""
    streams = [
        ((record_id, line) for record_id, line in store.compacted.lines(kind, path) if record_id not in void_ids)
        for path, void_ids in void.items()
    ]
    previous_id = None
    for record_id, line in heapq.merge(*streams):
        if record_id != previous_id:
            yield record_id, line
        previous_id = record_id


def _write(store: Store, kind: str, lines: Sequence[tuple[str, bytes]]) -> str:
    """Write a segment under a new name; return its path."""
    path = segment_path(kind, uuid.uuid4().hex[:16])
    store.write_bytes(path, segment_bytes(lines))
    return path


def _read(store: Store, kind: str, ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (id, line) of the record files that are sound. Damaged ones stay where they are."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE if store.local_root is None else 1) as pool:
        for start in range(0, len(ids), READ_AT_ONCE):
            batch = ids[start : start + READ_AT_ONCE]
            paths = [record_path(kind, record_id) for record_id in batch]
            for record_id, text in zip(batch, pool.map(store.read_file, paths), strict=True):
                if text is not None and _is_sound(text, kind, record_id):
                    yield record_id, one_line(text)


def _is_sound(text: bytes, kind: str, record_id: str) -> bool:
    try:
        parse_record(text, kind=kind, record_id=record_id)
    except DamagedRecordError as err:
        logger.warning("%s: not compacted", err)
        return False
    return True


def _groups(lines: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Divide (id, line) of records into segments."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for record_id, line in lines:
        group.append((record_id, line))
        size += len(line)
        if size >= SEGMENT_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
