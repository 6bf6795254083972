"""Artefacts and run files of a store: written whole, described by size and SHA-256, checked when they are read."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlprune.errors import DamagedArtefactError, RetiredArtefactError
from mlprune.json_values import JsonValue, parse_json
from mlprune.store.backend.store_files import StoreFiles
from mlprune.store.records import Artefact, Record
from mlprune.store.retired import group_of, read_marker, remake_command

if TYPE_CHECKING:
    from mlprune.store.parquet import Columns, Schema, Values


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


class ArtefactStore(StoreFiles):
    """The artefacts and run files of a store opened by path or URI; see `StoreFiles` for the errors."""

    def write_bytes(self, path: str, data: bytes, *, n_rows: int | None = None) -> Artefact:
        """Write a file so that it appears whole; an older one of this name is replaced."""
        self.write(path, data)
        return Artefact(path=path, n_bytes=len(data), sha256=sha256_of(data), n_rows=n_rows)

    def write_table(self, path: str, columns: "Columns", schema: "Schema") -> Artefact:
        """Write columns as a Parquet file; equal columns give equal bytes."""
        from mlprune.store.parquet import parquet_bytes  # noqa: PLC0415 - loads pyarrow, which `status` does not need

        data, n_rows = parquet_bytes(columns, schema)
        return self.write_bytes(path, data, n_rows=n_rows)

    def read_bytes(self, artefact: Artefact) -> bytes:
        """Read an artefact.

        Raises:
            DamagedArtefactError: it is missing or differs from its record.
            RetiredArtefactError: it is missing because a retention rule removed it.
        """
        try:
            data = self._read(artefact.path)
        except OSError as err:  # an object store raises OSError only for "not found"
            self._raise_if_retired(artefact.path)
            raise DamagedArtefactError("an artefact is missing", path=artefact.path) from err
        if sha256_of(data) != artefact.sha256:
            raise DamagedArtefactError(
                "an artefact is damaged", path=artefact.path, expected=artefact.sha256, got=sha256_of(data)
            )
        return data

    def _raise_if_retired(self, path: str) -> None:
        marker = read_marker(self, group_of(path))
        if marker is not None:
            raise RetiredArtefactError(
                "a file was retired to save space", path=path, **marker, next=remake_command(self.uri)
            )

    def read_table(self, artefact: Artefact, columns: Sequence[str] | None = None) -> "dict[str, Values]":
        """Read all or some columns of a Parquet artefact; see `read_bytes` for the error."""
        from mlprune.store.parquet import columns_of  # noqa: PLC0415

        return columns_of(self.read_bytes(artefact), columns)

    def is_complete(self, record: Record) -> bool:
        """Return whether every artefact of a record exists with its size. Readers check the hashes."""
        sizes = self.sizes_of([artefact.path for artefact in record.artefacts])
        return sizes == [artefact.n_bytes for artefact in record.artefacts]

    def is_intact(self, record: Record, *, may_be_retired: bool = False) -> bool:
        """Return whether every artefact of a record exists, byte for byte; reads all of them.

        Args:
            may_be_retired: whether artefacts may also be missing because they were retired.
        """
        for artefact in record.artefacts:
            try:
                self.read_bytes(artefact)
            except DamagedArtefactError:
                return False
            except RetiredArtefactError:
                if not may_be_retired:
                    return False
        return True

    def write_run_file(self, run_id: str, name: str, value: JsonValue) -> None:
        """Write one JSON file of a run: times, hosts, failures. Records never contain these."""
        self.write_bytes(f"runs/{run_id}/{name}.json", (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, path: str) -> JsonValue:
        """Read a JSON file by its path in the store."""
        return parse_json(self._read(path))
