"""The store: artefacts, records and run files in one local folder or one place in an object store.

A step writes its artefacts first and its record last. A record has a file of its own, or is a line of a segment after a
compaction.
"""

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlprune.counted import counted
from mlprune.errors import DamagedRecordError, StoreError
from mlprune.given_files import NOT_A_FILE
from mlprune.store.artefacts import ArtefactStore
from mlprune.store.backend.store_files import quarantine_path
from mlprune.store.compacted_records import MOST_REFRESHES, CompactedRecords
from mlprune.store.records import (
    CHECKSUM_START,
    Record,
    RecordKey,
    is_of_version_0_1,
    parse_record,
    record_path,
    version_0_1_error,
)
from mlprune.store.segments import ENDING, void_path
from mlprune.store.succession import quarantine_outdated

logger = logging.getLogger(__name__)
REQUESTS_AT_ONCE = 16
"""Number of parallel requests to an object store."""
RECORDS_AT_ONCE = 1_000
"""Number of record files whose contents are in memory at a time, when many are read."""


@dataclass(frozen=True)
class RecordListing:
    """Names of record files and segments, none of which has been read."""

    record_files: Mapping[str, frozenset[str]]
    """Kind -> ids of the records that have a file of their own."""
    segments: Mapping[str, tuple[str, ...]]
    """Kind -> paths of its segments and of their markers."""

    @property
    def sha256(self) -> str:
        """SHA-256 over all names, in hex. While it stays the same, no record was added or removed."""
        sha256 = hashlib.sha256()
        for kind in sorted(self.record_files.keys() | self.segments.keys()):
            sha256.update("\n".join([kind, *sorted(self.record_files.get(kind, ()))]).encode())
            sha256.update("\n".join(["", *sorted(self.segments.get(kind, ())), ""]).encode())
        return sha256.hexdigest()


def record_listing(paths: Iterable[str], *, kinds: Iterable[str] = ()) -> RecordListing:
    """Sort the paths of the files below `records/` by kind.

    Args:
        paths: relative to the store; any file that is not a record, segment or marker is skipped.
        kinds: get an entry in `segments` even if they have no file.
    """
    record_files: dict[str, set[str]] = {}
    segments: dict[str, list[str]] = {kind: [] for kind in kinds}
    for path in paths:
        parts = path.split("/")
        if len(parts) == 3 and path.endswith(".json"):
            record_files.setdefault(parts[1], set()).add(parts[2].removesuffix(".json"))
        elif len(parts) == 4 and parts[2] == "segments":
            segments.setdefault(parts[1], []).append(path)
    return RecordListing(
        record_files={kind: frozenset(ids) for kind, ids in record_files.items()},
        segments={kind: tuple(files) for kind, files in segments.items()},
    )


class Store(ArtefactStore):
    """A store opened by path or URI; see `StoreFiles` for the errors.

    Args:
        quarantine: move damaged records to `quarantine/`, so that their work is done again. Commands that run jobs set
            it. Commands that only answer do not: they report and ignore a damaged record, and leave it in its place.
    """

    def __init__(self, uri: str | Path, *, quarantine: bool = False) -> None:
        if not str(uri).strip():
            raise StoreError("the store has no name", expected="a folder or an object-store URI", got=str(uri))
        super().__init__(uri)
        self.quarantines = quarantine
        self.compacted = CompactedRecords(self)
        """The records that are in segments."""
        self._reported: set[str] = set()
        """Paths of damaged records that were reported."""

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Store, quarantine=self.quarantines), (self.uri,)

    def require_records(self) -> None:
        """Check that a run has written to the store.

        Raises:
            StoreError: it has no records, or its folder does not exist.
            EarlierVersionError: it has records of version 0.1.
        """
        expected = "a store that a run wrote to"
        if self.local_root is not None and not self.local_root.exists():
            raise StoreError("the store does not exist", store=self.uri, expected=expected, got="no such folder")
        if not self.list("records"):
            raise StoreError("the store has no records", store=self.uri, expected=expected, got="none")
        self.require_current_version()

    def require_current_version(self) -> None:
        """Check that version 0.1 wrote none of the records.

        In a folder, a store that quarantines examines the beginning of every record file, because the command is about
        to write. Otherwise one file of each kind is examined, and the others when they are read.

        Raises:
            EarlierVersionError: it wrote some.
        """
        examines_all = self.is_local and self.quarantines
        files = record_listing(self.list("records")).record_files
        keys = [
            (kind, one)
            for kind in sorted(files)
            for one in (sorted(files[kind]) if examines_all else [min(files[kind])])
        ]
        old = [key for key in keys if self._is_of_version_0_1(*key)]
        if old:
            got = f"{len(old)} of {counted(len(keys), 'examined record')}, such as {record_path(*old[0])}"
            raise version_0_1_error(store=self.uri, got=got)

    def _is_of_version_0_1(self, kind: str, record_id: str) -> bool:
        path = record_path(kind, record_id)
        try:
            if self.read_range(path, 0, len(CHECKSUM_START)) == CHECKSUM_START:
                return False
            return is_of_version_0_1(self._read(path), kind=kind, record_id=record_id)
        except OSError:  # it is named when it is read
            return False

    def write_record(self, record: Record) -> None:
        """Write a record, after its artefacts. From now on its work counts as done.

        If it differs from its version in quarantine, a store that quarantines first moves what depends on that version.

        Raises:
            DamagedRecordError: the record could not be read back, for example because its id does not follow from its
                inputs.
        """
        text = record.to_json().encode()
        parse_record(text, kind=record.kind, record_id=record.id)
        if self.quarantines:
            quarantine_outdated(self, record, text)
        self.write_bytes(record.path, text)

    def read_record(self, kind: str, record_id: str) -> Record | None:
        """Read a record; None if it is missing or damaged.

        A folder is searched for a record file before a segment. An object store, where requests are slow, is searched
        for a known segment first.
        """
        readers = (self._read_record_file, self._read_compacted)
        if not self.is_local and self.compacted.segments_with(kind, record_id):
            readers = (self._read_compacted, self._read_record_file)
        for read in readers:
            record = read(kind, record_id)
            if record is not None:
                return record
        return None

    def peek_record(self, kind: str, record_id: str) -> Record | None:
        """Read a record; None if there is none. A damaged one is neither reported nor moved.

        Raises:
            DamagedRecordError: it is damaged.
        """
        return self._load_file(kind, record_id) or self._load_compacted(kind, record_id)

    def _load_file(self, kind: str, record_id: str) -> Record | None:
        path = record_path(kind, record_id)
        try:
            text = self._read(path)
        except FileNotFoundError:
            return None
        except OSError as err:
            if err.errno in NOT_A_FILE:
                raise DamagedRecordError("a record is damaged", record=path, reason=str(err.strerror)) from err
            raise
        return parse_record(text, kind=kind, record_id=record_id)

    def _load_compacted(self, kind: str, record_id: str) -> Record | None:
        try:
            line = self.compacted.find(kind, record_id)
        except ValueError as err:
            path = record_path(kind, record_id)
            raise DamagedRecordError("a record is damaged", record=path, reason=str(err)) from err
        return None if line is None else parse_record(line, kind=kind, record_id=record_id)

    def _read_record_file(self, kind: str, record_id: str) -> Record | None:
        try:
            return self._load_file(kind, record_id)
        except DamagedRecordError as err:
            self._report(err)
            if self.quarantines:
                self._to_quarantine(record_path(kind, record_id))
            return None

    def _read_compacted(self, kind: str, record_id: str) -> Record | None:
        try:
            return self._load_compacted(kind, record_id)
        except DamagedRecordError as err:
            self._report(err)
            if self.quarantines:
                self._void(kind, record_id)
            return None

    def _report(self, err: DamagedRecordError) -> None:
        """Log a damaged record, once per record."""
        path = str(err.context["record"])
        if path not in self._reported:
            self._reported.add(path)
            consequence = "moved to quarantine/" if self.quarantines else "ignored; mlprune run does its work again"
            logger.warning("record %s is damaged (%s): %s", path, err.context.get("reason"), consequence)

    def has_record(self, kind: str, record_id: str) -> bool:
        """Return whether a record exists, sound or damaged."""
        if not self.is_local and self.compacted.segments_with(kind, record_id):
            return True
        return self._exists(record_path(kind, record_id)) or self.compacted.has(kind, record_id)

    def require(self, kind: str, record_id: str) -> Record:
        """Read a record that has to exist.

        Raises:
            StoreError: it does not exist.
            DamagedRecordError: it is damaged.
        """
        record = self.read_record(kind, record_id)
        path = record_path(kind, record_id)
        if record is None and path in self._reported:
            raise DamagedRecordError("a record is damaged", record=path, store=self.uri)
        if record is None:
            raise StoreError("the store has no such record", kind=kind, id=record_id, store=self.uri)
        return record

    def quarantine(self, record: Record) -> None:
        """Move a record to the quarantine, so that its work is done again."""
        self._to_quarantine(record.path)
        if self.compacted.has(record.kind, record.id):
            self._void(record.kind, record.id, text=record.to_json().encode())

    def _void(self, kind: str, record_id: str, *, text: bytes = b"\n") -> None:
        """Mark the lines of a record in segments as void, after its text, if it can be read, is in quarantine."""
        self.write_bytes(quarantine_path(record_path(kind, record_id)), text)
        for segment in self.compacted.segments_with(kind, record_id):
            self.write_bytes(void_path(segment, record_id), b"\n")
        self.compacted.refresh(kind)

    def record_names(self, kind: str | None = None) -> list[RecordKey]:
        """List (kind, id) of all records, sorted. It costs one listing, and one read per segment not seen before."""
        return sorted((name, record_id) for name, ids in self.record_ids(kind).items() for record_id in ids)

    def record_ids(self, kind: str | None = None) -> dict[str, set[str]]:
        """Return kind -> ids of all its records; like `record_names`, but not sorted."""
        for _ in range(MOST_REFRESHES):
            listing = self.list_records(kind)
            are_current = [self.compacted.update(name, paths) for name, paths in listing.segments.items()]
            if all(are_current):
                break
        if self.quarantines:
            self._quarantine_segments(listing)
        kinds = {*listing.record_files, *listing.segments}
        return {name: self.compacted.ids(name).union(listing.record_files.get(name, ())) for name in kinds}

    def _quarantine_segments(self, listing: RecordListing) -> None:
        """Move the segments that cannot be read to the quarantine, and delete their markers."""
        for kind, paths in listing.segments.items():
            for segment in self.compacted.damaged(kind).keys() & set(paths):
                logger.warning("segment %s is damaged: moved to quarantine/", segment)
                self._to_quarantine(segment)
                for marker in (path for path in paths if path.startswith(f"{segment.removesuffix(ENDING)}.")):
                    self.delete(marker)

    def list_records(self, kind: str | None = None) -> RecordListing:
        """List the files below `records/` without reading them."""
        compacted_kinds = [name for name in self.compacted.kinds() if kind in (None, name)]
        return record_listing(self.list(f"records/{kind}" if kind else "records"), kinds=compacted_kinds)

    def records(self, kind: str | None = None) -> Iterator[Record]:
        """Yield all sound records, sorted by kind and id."""
        for key in self.record_names(kind):
            record = self.read_record(*key)
            if record is not None:
                yield record

    def read_records(self, keys: Iterable[RecordKey]) -> dict[RecordKey, Record]:
        """Read the records of some (kind, id) that exist and are sound; an object store gets parallel requests."""
        distinct = list(dict.fromkeys(keys))
        if self.is_local:
            records: Iterable[Record | None] = (self.read_record(*key) for key in distinct)
        else:
            with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
                records = list(pool.map(lambda key: self.read_record(*key), distinct))
        return {key: record for key, record in zip(distinct, records, strict=True) if record is not None}

    def each_record(self, ids: Mapping[str, Collection[str]]) -> Iterator[Record]:
        """Yield the records of some ids, kind by kind, that exist and are sound; made for many records.

        Args:
            ids: kind -> ids of records.
        Returns: records in the order of the segments, each of which is read once, then in the order of ids. In a
            folder, a record file is read before a segment, as by `read_record`.
        """
        for kind, wanted in sorted(ids.items()):
            missing = set(wanted)
            in_files = self.list_records(kind).record_files.get(kind, frozenset()) if self.is_local else frozenset()
            for record_id, line in self.compacted.select_lines(kind, missing - in_files):
                try:
                    record = parse_record(line, kind=kind, record_id=record_id)
                except DamagedRecordError:
                    continue  # `read_records` reports it
                missing.discard(record_id)
                yield record
            remaining = sorted(missing)
            for start in range(0, len(remaining), RECORDS_AT_ONCE):
                batch = remaining[start : start + RECORDS_AT_ONCE]
                yield from self._accessible([(kind, record_id) for record_id in batch]).values()

    def _accessible(self, keys: list[RecordKey]) -> dict[RecordKey, Record]:
        """Read records, without those that this process is not allowed to read."""
        try:
            return self.read_records(keys)
        except OSError as err:
            if len(keys) == 1:
                logger.warning("record %s/%s cannot be read: %s", *keys[0], err)
                return {}
        middle = len(keys) // 2
        return self._accessible(keys[:middle]) | self._accessible(keys[middle:])
