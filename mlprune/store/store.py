"""The store: artefacts, records and run files in one folder, local or behind an object-store URI.

Artefacts come first, the record last. Reads of artefacts check the hash their record names. A record is a file of its
own, or a line of a segment: what of a store is compacted is known by `compacted.py`. How files are written and listed
is in `files.py`; what a table looks like in `tables.py`.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.store.backend import StoreFiles
from mlprune.store.listing import RecordListing, record_listing
from mlprune.store.parquet import Columns, Schema, columns_of, parquet_bytes
from mlprune.store.records import Artefact, Record, record_path
from mlprune.store.segments.reader import LOOKS, CompactedRecords, void_path

logger = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 16
"""Requests to an object store at a time, where many files are asked for."""
RECORDS_AT_ONCE = 1_000
"""Record files whose contents are in memory at a time, where a great many are read."""


def sha256_of(data: bytes) -> str:
    """SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


class Store(StoreFiles):
    """A store opened by path or URI; see `StoreFiles` for the errors."""

    def __init__(self, uri: str | Path) -> None:
        super().__init__(uri)
        self.compacted = CompactedRecords(self)
        """The records that lie in segments."""

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

    def read_table(self, artefact: Artefact, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
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
        """Write a record, after its artefacts: from now on the work is done."""
        self.write_bytes(record.path, record.to_json().encode())

    def read_record(self, kind: str, record_id: str) -> Record | None:
        """A record by kind and id, None if there is none; one that cannot be read moves to quarantine and is none.

        In a folder a record's own file is read before a segment, in an object store, where a request costs, after it.
        """
        if not self.is_local and self.compacted.segments_with(kind, record_id):
            record = self._compacted(kind, record_id)
            if record is not None:
                return record
        return self._parse(record_path(kind, record_id)) or self._compacted(kind, record_id)

    def peek_record(self, kind: str, record_id: str) -> Record | None:
        """The same, but one that cannot be read stays where it is.

        Raises:
            ValueError, KeyError, TypeError: it cannot be read.
        """
        data = self.read_file(record_path(kind, record_id))
        if data is None:
            data = self.compacted.find(kind, record_id)
        return Record.from_json(data) if data is not None else None

    def _compacted(self, kind: str, record_id: str) -> Record | None:
        """A record out of a segment."""
        try:
            line = self.compacted.find(kind, record_id)
            return Record.from_json(line) if line is not None else None
        except (ValueError, KeyError, TypeError) as err:
            logger.warning("record %s/%s cannot be read (%s): it counts no more", kind, record_id, err)
            self._void(kind, record_id)
            return None

    def has_record(self, kind: str, record_id: str) -> bool:
        """Whether there is such a record, readable or not."""
        if not self.is_local and self.compacted.segments_with(kind, record_id):
            return True
        return self._has(record_path(kind, record_id)) or self.compacted.has(kind, record_id)

    def require(self, kind: str, record_id: str) -> Record:
        """A record that has to exist.

        Raises:
            StoreError: it does not.
        """
        record = self.read_record(kind, record_id)
        if record is None:
            raise StoreError("the store has no such record", kind=kind, id=record_id, store=self.uri)
        return record

    def _parse(self, path: str) -> Record | None:
        try:
            data = self._read(path)
        except FileNotFoundError:
            return None
        try:
            return Record.from_json(data.decode())
        except (ValueError, KeyError, TypeError) as err:
            logger.warning("record %s cannot be read (%s): moved to quarantine/", path, err)
            self._to_quarantine(path)
            return None

    def quarantine(self, record: Record) -> None:
        """Move a record aside, so that its work is done again."""
        self._to_quarantine(record.path)
        if self.compacted.has(record.kind, record.id):
            self.write_bytes(_quarantine_path(record.path), record.to_json().encode())
            self._void(record.kind, record.id)

    def _void(self, kind: str, record_id: str) -> None:
        """Let the compacted record of this name count no more."""
        for segment in self.compacted.segments_with(kind, record_id):
            self.write_bytes(void_path(segment, record_id), b"\n")
        self.compacted.look(kind)

    def _to_quarantine(self, path: str) -> None:
        """Move a file aside; somebody else may have done so just before."""
        source, target = self._full(path), self._full(_quarantine_path(path))
        try:
            if self.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(source).rename(target)
            else:
                self._ask(lambda: self._files.copy_file(source, target))
                self.delete(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)

    def record_names(self, kind: str | None = None) -> list[tuple[str, str]]:
        """(kind, id) of all records, sorted; cheap: one listing, and of segments their indexes where they are new."""
        return sorted((one, record_id) for one, ids in self.record_ids(kind).items() for record_id in ids)

    def record_ids(self, kind: str | None = None) -> dict[str, set[str]]:
        """Kind -> ids of all its records; costs what `record_names` does, but for the sorting."""
        for _ in range(LOOKS):
            listing = self.list_records(kind)
            are_current = [self.compacted.follow(one, paths) for one, paths in listing.segments.items()]
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
            for record_id, line in self.compacted.lines_of(kind, missing - own):
                try:
                    record = Record.from_json(line)
                except (ValueError, KeyError, TypeError):
                    continue  # `read_records` finds the same, and says so
                missing.discard(record_id)
                yield from _if_its_own(record, (kind, record_id))
            rest = sorted(missing)
            for start in range(0, len(rest), RECORDS_AT_ONCE):
                part = rest[start : start + RECORDS_AT_ONCE]
                for name, record in self._readable((kind, record_id) for record_id in part).items():
                    yield from _if_its_own(record, name)

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

    def write_run_file(self, run_id: str, name: str, value: Any) -> None:
        """Write one JSON file of a run: timings, hosts, failures. Never part of a record."""
        self.write_bytes(f"runs/{run_id}/{name}.json", (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """Read a JSON file by its path in the store."""
        return json.loads(self._read(path))


def _if_its_own(record: Record, name: tuple[str, str]) -> Iterator[Record]:
    """A record, unless it lies under another one's name."""
    if (record.kind, record.id) == name:
        yield record
    else:
        logger.warning("record %s/%s calls itself %s/%s: left out", *name, record.kind, record.id)


def _quarantine_path(path: str) -> str:
    """A place for a file that is moved aside, another one at every call."""
    return f"quarantine/{path.replace('/', '-')}.{uuid.uuid4().hex[:8]}"
