"""The store: artefacts, records and run files in one folder, local or behind an object-store URI.

Artefacts come first, the record last. Reads of artefacts check the hash their record names. A record is a file of its
own, or a line of a segment: what of a store is compacted is known by `compacted.py`. How files are written and listed
is in `files.py`; what a table looks like in `tables.py`.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mlprune.errors import DamagedArtefactError, DamagedRecordError, StoreError
from mlprune.json_values import JsonValue
from mlprune.store.backend import NOT_A_FILE, StoreFiles, quarantine_path
from mlprune.store.listing import RecordListing, record_listing
from mlprune.store.parquet import Columns, Schema, Values, columns_of, parquet_bytes
from mlprune.store.records import Artefact, Record, parse_record, record_path
from mlprune.store.segments.reader import MOST_REFRESHES, CompactedRecords, void_path

logger = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 16
"""Requests to an object store at a time, where many files are asked for."""
RECORDS_AT_ONCE = 1_000
"""Record files whose contents are in memory at a time, where a great many are read."""


def sha256_of(data: bytes) -> str:
    """SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


class Store(StoreFiles):
    """A store opened by path or URI; see `StoreFiles` for the errors.

    Args:
        uri: the store.
        quarantine: move damaged records to `quarantine/`, so that their work is done again. Commands that run jobs ask
            for it. Commands that only answer do not: for them a damaged record is reported, ignored, and stays in its
            place.
    """

    def __init__(self, uri: str | Path, *, quarantine: bool = False) -> None:
        super().__init__(uri)
        self.quarantines = quarantine
        self.compacted = CompactedRecords(self)
        """The records that are in segments."""
        self._reported: set[str] = set()
        """Damaged records that were reported."""

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Store, quarantine=self.quarantines), (self.uri,)

    # Artefacts

    def write_bytes(self, path: str, data: bytes, *, n_rows: int | None = None) -> Artefact:
        """Write a whole file so that it appears at once; an older one of this name is replaced."""
        self.write(path, data)
        return Artefact(path=path, n_bytes=len(data), sha256=sha256_of(data), n_rows=n_rows)

    def write_table(self, path: str, columns: Columns, schema: Schema) -> Artefact:
        """Write columns as a Parquet file; equal columns are equal bytes."""
        data, n_rows = parquet_bytes(columns, schema)
        return self.write_bytes(path, data, n_rows=n_rows)

    def read_bytes(self, artefact: Artefact) -> bytes:
        """Read an artefact.

        Raises:
            DamagedArtefactError: it is missing or differs from its record.
        """
        try:
            data = self._read(artefact.path)
        except OSError as err:  # of an object store only "not found" is an OSError by now
            raise DamagedArtefactError("an artefact is missing", path=artefact.path) from err
        if sha256_of(data) != artefact.sha256:
            raise DamagedArtefactError(
                "an artefact is damaged", path=artefact.path, expected=artefact.sha256, got=sha256_of(data)
            )
        return data

    def read_table(self, artefact: Artefact, columns: Sequence[str] | None = None) -> dict[str, Values]:
        """Read columns of a Parquet artefact, all or some; see `read_bytes` for the error."""
        return columns_of(self.read_bytes(artefact), columns)

    def is_complete(self, record: Record) -> bool:
        """Whether every artefact of the record is there with its size; the hash is checked by readers."""
        found = self.sizes_of([one.path for one in record.artefacts])
        return found == [one.n_bytes for one in record.artefacts]

    def is_intact(self, record: Record) -> bool:
        """Whether every artefact of the record is there, byte for byte; reads them all."""
        try:
            for artefact in record.artefacts:
                self.read_bytes(artefact)
        except DamagedArtefactError:
            return False
        return True

    # Records

    def write_record(self, record: Record) -> None:
        """Write a record, after its artefacts: from now on the work is done.

        Raises:
            DamagedRecordError: the record could not be read back: its id does not follow from its inputs, for example.
        """
        text = record.to_json().encode()
        parse_record(text, kind=record.kind, record_id=record.id)
        self.write_bytes(record.path, text)

    def read_record(self, kind: str, record_id: str) -> Record | None:
        """Read a record; None if there is none, or none that is sound.

        In a folder a record file is read before a segment, in an object store, where a request costs, after it.
        """
        sources = (self._record_of_file, self._compacted)
        if not self.is_local and self.compacted.segments_with(kind, record_id):
            sources = (self._compacted, self._record_of_file)
        for source in sources:
            record = source(kind, record_id)
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

    def _record_of_file(self, kind: str, record_id: str) -> Record | None:
        try:
            return self._load_file(kind, record_id)
        except DamagedRecordError as err:
            self._report(err)
            if self.quarantines:
                self._to_quarantine(record_path(kind, record_id))
            return None

    def _compacted(self, kind: str, record_id: str) -> Record | None:
        try:
            return self._load_compacted(kind, record_id)
        except DamagedRecordError as err:
            self._report(err)
            if self.quarantines:
                self._void(kind, record_id)
            return None

    def _report(self, err: DamagedRecordError) -> None:
        """Name a damaged record in one line, the first time it is met."""
        path = str(err.context["record"])
        if path not in self._reported:
            self._reported.add(path)
            done = "moved to quarantine/" if self.quarantines else "ignored; mlprune run does its work again"
            logger.warning("record %s is damaged (%s): %s", path, err.context.get("reason"), done)

    def has_record(self, kind: str, record_id: str) -> bool:
        """Whether there is such a record, readable or not."""
        if not self.is_local and self.compacted.segments_with(kind, record_id):
            return True
        return self._has(record_path(kind, record_id)) or self.compacted.has(kind, record_id)

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
        """Move a record aside, so that its work is done again."""
        self._to_quarantine(record.path)
        if self.compacted.has(record.kind, record.id):
            self.write_bytes(quarantine_path(record.path), record.to_json().encode())
            self._void(record.kind, record.id)

    def _void(self, kind: str, record_id: str) -> None:
        """Let the compacted record of this name count no more."""
        for segment in self.compacted.segments_with(kind, record_id):
            self.write_bytes(void_path(segment, record_id), b"\n")
        self.compacted.refresh(kind)

    def record_names(self, kind: str | None = None) -> list[tuple[str, str]]:
        """(kind, id) of all records, sorted; cheap: one listing, and of segments their indexes where they are new."""
        return sorted((one, record_id) for one, ids in self.record_ids(kind).items() for record_id in ids)

    def record_ids(self, kind: str | None = None) -> dict[str, set[str]]:
        """Kind -> ids of all its records; costs what `record_names` does, but for the sorting."""
        for _ in range(MOST_REFRESHES):
            listing = self.list_records(kind)
            are_current = [self.compacted.update(one, paths) for one, paths in listing.segments.items()]
            if all(are_current):
                break
        kinds = {*listing.own, *listing.segments}
        return {one: self.compacted.ids(one).union(listing.own.get(one, ())) for one in kinds}

    def list_records(self, kind: str | None = None) -> RecordListing:
        """The files below `records/`, none of which is read."""
        known = [one for one in self.compacted.kinds() if kind in (None, one)]
        return record_listing(self.list(f"records/{kind}" if kind else "records"), kinds=known)

    def records(self, kind: str | None = None) -> Iterator[Record]:
        """All readable records, sorted by kind and id."""
        for found_kind, record_id in self.record_names(kind):
            record = self.read_record(found_kind, record_id)
            if record is not None:
                yield record

    def read_records(self, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Record]:
        """The records of some (kind, id) that are there and can be read; an object store is asked for many at once."""
        wanted = list(dict.fromkeys(names))
        if self.is_local:
            found: Iterable[Record | None] = (self.read_record(*name) for name in wanted)
        else:
            with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
                found = list(pool.map(lambda name: self.read_record(*name), wanted))
        return {name: record for name, record in zip(wanted, found, strict=True) if record is not None}

    def each_record(self, ids: Mapping[str, Collection[str]]) -> Iterator[Record]:
        """The records of some names, kind by kind, that are there and can be read: for a great many at a time.

        Each segment is read once, from end to end; the order is that of the segments, then of the ids. As in
        `read_record`, a record's own file in a folder stands before a segment.
        """
        for kind, wanted in sorted(ids.items()):
            missing = set(wanted)
            own = self.list_records(kind).own.get(kind, frozenset()) if self.is_local else frozenset()
            for record_id, line in self.compacted.select_lines(kind, missing - own):
                try:
                    record = parse_record(line, kind=kind, record_id=record_id)
                except DamagedRecordError:
                    continue  # `read_records` meets and reports it
                missing.discard(record_id)
                yield record
            remaining = sorted(missing)
            for start in range(0, len(remaining), RECORDS_AT_ONCE):
                part = remaining[start : start + RECORDS_AT_ONCE]
                yield from self._readable((kind, record_id) for record_id in part).values()

    def _readable(self, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Record]:
        """The same as `read_records`, without those that this process may not read."""
        wanted = list(names)
        try:
            return self.read_records(wanted)
        except OSError as err:
            if len(wanted) == 1:
                logger.warning("record %s/%s cannot be read: %s", *wanted[0], err)
                return {}
        middle = len(wanted) // 2
        return self._readable(wanted[:middle]) | self._readable(wanted[middle:])

    # Files that no record lists

    def write_run_file(self, run_id: str, name: str, value: JsonValue) -> None:
        """Write one JSON file of a run: timings, hosts, failures. Never part of a record."""
        self.write_bytes(f"runs/{run_id}/{name}.json", (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, path: str) -> JsonValue:
        """Read a JSON file by its path in the store."""
        value: JsonValue = json.loads(self._read(path))
        return value
