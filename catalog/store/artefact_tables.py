"""Artefact tables: files that are too large for the catalog, read from the store and checked for a single query."""

import io
from collections.abc import Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.results import Row
from mlprune.errors import DamagedArtefactError, QueryError
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
    artefacts = [Artefact(row["path"], row["n_bytes"], row["sha256"], row["n_rows"]) for row in files]
    if not artefacts:
        raise QueryError(
            "no record with this id has files in this folder", id=record_id, folder=folder, expected="Parquet"
        )
    try:
        return pa.concat_tables([pq.read_table(io.BytesIO(store.read_bytes(artefact))) for artefact in artefacts])
    except (DamagedArtefactError, pa.ArrowException) as err:
        raise QueryError("a file that the query reads cannot be used", id=record_id, reason=str(err)) from err
