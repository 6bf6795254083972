"""Compaction: many small record files become rows of a few segments, and small segments become larger ones.

A segment is written whole before the files it replaces are removed, so a record is never missing; between the two, and
until the next compaction if the process dies there, it lies in both places, which counts once. An advisory claim keeps
two compactions of one kind apart; if it fails, rows stand in two segments, which counts once too. Runs may be at work.
"""

import heapq
import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlprune.errors import DamagedRecordError, StoreError, TransientError
from mlprune.store.claims import Claims
from mlprune.store.records import one_line, parse_record, record_path
from mlprune.store.segments.encoding import segment_bytes
from mlprune.store.segments.reader import VOID, segment_folder, segment_path, void_path
from mlprune.store.store import REQUESTS_AT_ONCE, Store

logger = logging.getLogger(__name__)

COMPACT_FROM = 5_000
"""Record files of one kind from which a run compacts them at its end."""
SEGMENT_BYTES = 64 << 20
"""A segment ends with the record that reaches this size, uncompressed."""
MERGE_FROM = 8
"""Segments of less than half that size, of one kind, from which they become larger ones."""
READ_AT_ONCE = 512
"""Record files read before the next are asked for."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did."""

    n_records: int = 0
    """Record files that became rows of a segment."""
    n_segments: int = 0
    """Segments written."""

    def __add__(self, other: "Compaction") -> "Compaction":
        return Compaction(self.n_records + other.n_records, self.n_segments + other.n_segments)


def compact(store: Store, *, at_least: int = 1, owner: str = "compaction") -> Compaction:
    """Compact the records of every kind that has so many files.

    Args:
        at_least: record files of one kind that are worth it.
        owner: who does it, as other runs are told.
    Raises:
        StoreError: the store cannot be written.
    """
    files: dict[str, list[str]] = {}
    segments: dict[str, list[str]] = {}
    for path in store.list("records"):
        parts = path.split("/")
        if len(parts) == 3 and path.endswith(".json"):
            files.setdefault(parts[1], []).append(parts[2].removesuffix(".json"))
        elif len(parts) == 4 and parts[2] == "segments":
            segments.setdefault(parts[1], []).append(path)
    done = Compaction()
    with Claims(store, owner) as claims:
        for kind in sorted(files.keys() | segments.keys()):
            own, found = files.get(kind, []), segments.get(kind, [])
            if len(own) < at_least and len(found) < MERGE_FROM and not any(one.endswith(VOID) for one in found):
                continue
            key = ("segments", kind)
            if not claims.take(key):
                logger.warning("the records of %s are being compacted by %s", kind, claims.owner_of(key))
                continue
            try:
                done += _compact_kind(store, kind, files=own if len(own) >= at_least else [], found=found)
            except OSError as err:
                raise StoreError("records cannot be compacted", store=store.uri, reason=str(err)) from err
            finally:
                claims.release(key)
    return done


def compact_if_many(store: Store) -> Compaction:
    """Compact kinds of `COMPACT_FROM` record files or more; where that fails it is logged, and no fault of a run."""
    try:
        return compact(store, at_least=COMPACT_FROM, owner="a run at its end")
    except (StoreError, TransientError) as err:
        logger.warning("the records stay as they are: %s", err)
        return Compaction()


def _compact_kind(store: Store, kind: str, *, files: list[str], found: list[str]) -> Compaction:
    """The record files of a kind become segments, one after the other; then small segments become larger ones."""
    done = Compaction()
    for group in _segments_of(_read(store, kind, files)):
        path = _write(store, kind, group)
        here = set(store.list(f"records/{kind}"))
        for record_id, _ in group:
            if record_path(kind, record_id) not in here:  # it went to quarantine meanwhile
                store.write_bytes(void_path(path, record_id), b"\n")
            store.delete(record_path(kind, record_id))
        done += Compaction(len(group), 1)
    store.compacted.look(kind) if done.n_segments else store.compacted.follow(kind, found)
    return done + _merge(store, kind)


def _merge(store: Store, kind: str) -> Compaction:
    """Write the rows of small segments into larger ones, without those that count no more; then remove the small."""
    merged = [path for path in _mergeable(store, kind) if _is_intact(store, kind, path)]
    if not merged:
        return Compaction()
    void = {path: store.compacted.void_in(kind, path) for path in merged}
    written: dict[str, str] = {}
    n_segments = 0
    for group in _segments_of(_distinct(store, kind, void)):
        path = _write(store, kind, group)
        written |= {record_id: path for record_id, _ in group}
        n_segments += 1
    here = store.list(segment_folder(kind))
    for path in merged:
        markers = {
            void_path(path, record_id): record_id for record_id in store.compacted.segments(kind)[path].positions
        }
        new = {markers[one] for one in here if one in markers} - void[path]
        for record_id in sorted(new & written.keys()):  # it went to quarantine meanwhile
            store.write_bytes(void_path(written[record_id], record_id), b"\n")
        store.delete(path)
        for marker in (one for one in here if one in markers):
            store.delete(marker)
    store.compacted.look(kind)
    return Compaction(0, n_segments)


def _mergeable(store: Store, kind: str) -> list[str]:
    """The small segments, where there are many of them, and those with records that count no more."""
    segments = store.compacted.segments(kind)
    small = [path for path, index in segments.items() if sum(one.n_raw for one in index.blocks) < SEGMENT_BYTES // 2]
    voided = {path for path in segments if store.compacted.void_in(kind, path)}
    return sorted(voided.union(small if len(small) >= MERGE_FROM else []))


def _is_intact(store: Store, kind: str, path: str) -> bool:
    try:
        for record_id, line in store.compacted.lines(kind, path):
            parse_record(line, kind=kind, record_id=record_id)
    except (ValueError, OSError, DamagedRecordError) as err:
        logger.warning("segment %s cannot be read (%s): left as it is", path, err)
        return False
    return True


def _distinct(store: Store, kind: str, void: dict[str, set[str]]) -> Iterator[tuple[str, bytes]]:
    """(id, line) of the records of some segments, by id, each once."""
    streams = [(one for one in store.compacted.lines(kind, path) if one[0] not in gone) for path, gone in void.items()]
    last = None
    for one in heapq.merge(*streams):
        if one[0] != last:
            yield one
        last = one[0]


def _write(store: Store, kind: str, lines: list[tuple[str, bytes]]) -> str:
    """Write a segment under a new name; returns its path."""
    path = segment_path(kind, uuid.uuid4().hex[:16])
    store.write_bytes(path, segment_bytes(lines))
    return path


def _read(store: Store, kind: str, record_ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(id, line) of the record files that are sound; damaged ones stay where they are."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE if store.local_root is None else 1) as pool:
        for start in range(0, len(record_ids), READ_AT_ONCE):
            some = record_ids[start : start + READ_AT_ONCE]
            paths = [record_path(kind, record_id) for record_id in some]
            for record_id, text in zip(some, pool.map(store.read_file, paths), strict=True):
                if text is not None and _is_sound(text, kind, record_id):
                    yield record_id, one_line(text)


def _is_sound(text: bytes, kind: str, record_id: str) -> bool:
    try:
        parse_record(text, kind=kind, record_id=record_id)
    except DamagedRecordError as err:
        logger.warning("%s: left as it is", err)
        return False
    return True


def _segments_of(lines: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    group: list[tuple[str, bytes]] = []
    size = 0
    for one in lines:
        group.append(one)
        size += len(one[1])
        if size >= SEGMENT_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
