"""Artefacts lent to a question: what is too large for the catalog is read from the store, checked, for one answer."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlprune.errors import DamagedArtefactError, QueryError
from mlprune.store.records import Artefact
from mlprune.store.store import Store


def artefact_table(store: Store, files: Sequence[Mapping[str, Any]], *, folder: str, record_id: str) -> pa.Table:
    """The rows of a record's Parquet files of one folder of the store, file after file.

    Args:
        files: rows of the catalog's table `artefacts`.
    Raises:
        QueryError: there are none, or one is missing or damaged.
    """
    artefacts = [Artefact(one["path"], one["n_bytes"], one["sha256"], one["n_rows"]) for one in files]
    if not artefacts:
        raise QueryError("no record of this id has files there", id=record_id, folder=folder, expected="Parquet")
    try:
        return pa.concat_tables([pq.read_table(io.BytesIO(store.read_bytes(one))) for one in artefacts])
    except (DamagedArtefactError, pa.ArrowException) as err:
        raise QueryError("a file that the question reads cannot be used", id=record_id, reason=str(err)) from err
