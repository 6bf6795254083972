"""The store: artefacts, records and run files in one folder, local or behind an object-store URI.

Artefacts come first, the record last; every write appears whole or not at all (locally: temporary name, fsync, rename;
remotely: one PUT). Reads of artefacts check the hash their record names. How an object store is reached, and what its
errors mean, is in `object_store.py`; what a table looks like in `tables.py`.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.fs as pafs

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.object_store import open_object_store, patiently
from mlprune.records import Artefact, Record, record_path
from mlprune.tables import Columns, Schema, columns_of, parquet_bytes

logger = logging.getLogger(__name__)
T = TypeVar("T")


def sha256_of(data: bytes) -> str:
    """SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


class Store:
    """A store opened by path or URI.

    Raises:
        StoreError: the place cannot be reached or is a file.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        if "://" in self.uri:
            self._files, self._root = open_object_store(self.uri)
        else:
            self.uri = str(Path(self.uri).absolute())
            self._files, self._root = pafs.LocalFileSystem(), self.uri
        info = self._ask(lambda: self._files.get_file_info(self._root))
        if info.type == pafs.FileType.File:
            raise StoreError("the store is a file", store=self.uri, expected="a folder", got="a file")

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.uri,)

    @property
    def local_root(self) -> Path | None:
        """The folder itself, where the store is local."""
        return Path(self._root) if isinstance(self._files, pafs.LocalFileSystem) else None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _ask(self, action: Callable[[], T]) -> T:
        """Do something with the file system: an object store is asked patiently, and its errors are put in words."""
        return action() if self.local_root is not None else patiently(action, store=self.uri)

    # Artefacts

    def write_bytes(self, path: str, data: bytes, *, n_rows: int | None = None) -> Artefact:
        """Write a whole file so that it appears at once; an older one of this name is replaced."""
        if self.local_root is None:
            self._ask(lambda: self._put(path, data))
        else:
            _write_local(Path(self._full(path)), data)
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

    def _read(self, path: str) -> bytes:
        if self.local_root is not None:
            return Path(self._full(path)).read_bytes()
        return self._ask(lambda: self._get(path))

    def _get(self, path: str) -> bytes:
        """Two requests: how long is it, and all of it. (A stream would ask for every 256 KiB.)"""
        with self._files.open_input_file(self._full(path)) as file:
            return bytes(file.read())

    def _put(self, path: str, data: bytes) -> None:
        """One request; above 10 MiB an upload in parts, of which nothing is seen until it is complete."""
        with self._files.open_output_stream(self._full(path)) as stream:
            stream.write(data)

    def is_complete(self, record: Record) -> bool:
        """Whether every artefact of the record is there with its size; the hash is checked by readers."""
        if not record.artefacts:
            return True
        paths = [self._full(artefact.path) for artefact in record.artefacts]
        infos = self._ask(lambda: self._files.get_file_info(paths))
        return all(
            info.type == pafs.FileType.File and info.size == artefact.n_bytes
            for info, artefact in zip(infos, record.artefacts, strict=True)
        )

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
        """A record by kind and id, None if there is none; one that cannot be read moves to quarantine and is none."""
        return self._parse(record_path(kind, record_id))

    def has_record(self, kind: str, record_id: str) -> bool:
        """Whether there is such a record, readable or not."""
        return self._has(record_path(kind, record_id))

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

    def _to_quarantine(self, path: str) -> None:
        """Move a file aside; somebody else may have done so just before."""
        source, target = self._full(path), self._full(f"quarantine/{path.replace('/', '-')}.{uuid.uuid4().hex[:8]}")
        try:
            if self.local_root is not None:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(source).rename(target)
            else:
                self._ask(lambda: self._files.copy_file(source, target))
                self.delete(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)

    def record_names(self, kind: str | None = None) -> list[tuple[str, str]]:
        """(kind, id) of all records, sorted; cheap: one listing, nothing is opened."""
        base = f"records/{kind}" if kind else "records"
        names = [path.removeprefix("records/").removesuffix(".json") for path in self.list(base)]
        return sorted((name.split("/")[0], name.split("/")[1]) for name in names if name.count("/") == 1)

    def records(self, kind: str | None = None) -> Iterator[Record]:
        """All readable records, sorted by kind and id."""
        for found_kind, record_id in self.record_names(kind):
            record = self.read_record(found_kind, record_id)
            if record is not None:
                yield record

    # Other files and listings

    def write_run_file(self, run_id: str, name: str, value: Any) -> None:
        """Write one JSON file of a run: timings, hosts, failures. Never part of a record."""
        self.write_bytes(f"runs/{run_id}/{name}.json", (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """Read a JSON file by its path in the store."""
        return json.loads(self._read(path))

    def read_file(self, path: str) -> bytes | None:
        """The bytes of a file that no record lists, None if it is not there."""
        try:
            return self._read(path)
        except FileNotFoundError:
            return None

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file unless there is one; returns whether it was written. It is not flushed to the disk.

        In a folder only one of two writers succeeds. An object store is asked first and written then: of two that come
        at once both may succeed, and the later one's file stays.
        """
        if self.local_root is None:
            if self._has(path):
                return False
            self._ask(lambda: self._put(path, data))
            return True
        target = Path(self._full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as stream:
                stream.write(data)
        except FileExistsError:
            return False
        return True

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        try:
            if self.local_root is not None:
                Path(self._full(path)).unlink()
            else:
                self._ask(lambda: self._files.delete_file(self._full(path)))
        except FileNotFoundError:
            return

    def _has(self, path: str) -> bool:
        if self.local_root is not None:
            return Path(self._full(path)).is_file()
        try:  # opening asks once; get_file_info also looks for a folder of that name
            self._ask(lambda: self._files.open_input_file(self._full(path)).close())
        except FileNotFoundError:
            return False
        return True

    def list(self, folder: str) -> list[str]:
        """Paths, relative to the store, of the finished files below a folder, sorted."""
        full = self._full(folder).rstrip("/")
        selector = pafs.FileSelector(full, recursive=True, allow_not_found=True)
        infos = self._ask(lambda: self._files.get_file_info(selector))
        paths = (info.path for info in infos if info.type == pafs.FileType.File)
        return sorted(path.removeprefix(self._root).lstrip("/") for path in paths if ".writing-" not in path)


def _write_local(path: Path, data: bytes) -> None:
    """Write beside the target, flush to the disk, rename over it, flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.writing-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
