"""Artefact tables: files that are too large for the catalog, read from the store and checked for a single query."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.results import Row
from mlprune.errors import DamagedArtefactError, QueryError, UnreadableFileError
from mlprune.store.records import Artefact
from mlprune.store.store import Store

ArrowTable: TypeAlias = pa.Table


def artefact_table(store: Store, files: Sequence[Row], *, folder: str, record_id: str) -> pa.Table:
    """Read the Parquet files that a record has in one folder of the store, and concatenate them.

    Args:
        files: rows of the catalog's table `artefacts`.
    Raises:
        QueryError: the record has no files, or one is missing or damaged.
    """
    artefacts = [artefact_of(row) for row in files]
    if not artefacts:
        raise QueryError(
            "no record with this id has files in this folder", id=record_id, folder=folder, expected="Parquet"
        )
    try:
        return pa.concat_tables([pq.read_table(io.BytesIO(store.read_bytes(artefact))) for artefact in artefacts])
    except (DamagedArtefactError, pa.ArrowException) as err:
        raise QueryError("a file that the query reads cannot be used", id=record_id, reason=str(err)) from err


def artefact_of(row: Row) -> Artefact:
    """Return the file that a row of the catalog's table `artefacts` describes."""
    return Artefact(row["path"], row["n_bytes"], row["sha256"], row["n_rows"])


def read_columns(store: Store, artefact: Artefact) -> Mapping[str, Sequence[Any]]:
    """Read the columns of a file that an answer needs.

    Raises:
        UnreadableFileError: the file is missing or damaged.
    """
    try:
        return store.read_table(artefact)
    except (DamagedArtefactError, OSError, ValueError) as err:
        raise UnreadableFileError(
            "a file that the query reads cannot be used", path=artefact.path, reason=str(err)
        ) from err
