"""Tables and views as files that other programs read: Parquet, CSV, Arrow."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from catalog.ingest.schema import BOOKKEEPING, STATE
from catalog.ingest.table_files import declared_tables
from catalog.ingest.view_files import views
from catalog.store.catalog import Catalog
from mlprune.errors import BadInputError, QueryError

BATCH_ROWS = 100_000
"""Rows in memory at a time."""
ABOUT = "snapshot.json"

Writer = Callable[[str, pa.Schema], AbstractContextManager[Any]]
WRITERS: Mapping[str, Writer] = {
    "parquet": lambda path, schema: pa.parquet.ParquetWriter(path, schema, compression="zstd"),
    "csv": pa.csv.CSVWriter,
    "arrow": pa.ipc.new_file,
}
"""Format, which is also the ending of its files -> what writes batches of rows."""


@dataclass(frozen=True)
class Export:
    """What an export wrote; the same stands in `snapshot.json` beside the files."""

    snapshot_id: str
    format: str
    n_rows: Mapping[str, int]
    """Table or view -> rows."""


def export_catalog(catalog: Catalog, folder: Path, *, format: str, only: Sequence[str] = ()) -> Export:  # noqa: A002
    """Write a file for each table and view, `<name>.<format>`, and what they are a copy of.

    Args:
        folder: is made; must not hold anything yet.
        format: a key of `WRITERS`. In CSV a list is its JSON text.
        only: names of tables and views; all of them if empty.
    Raises:
        BadInputError: there is no such format, or the folder is not empty.
        QueryError: there is no such table or view.
    """
    if format not in WRITERS:
        raise BadInputError("no such format", expected=sorted(WRITERS), got=format)
    if folder.exists() and any(folder.iterdir()):
        raise BadInputError("the folder is not empty", path=str(folder), expected="a new or empty folder")
    known = relations()
    if unknown := sorted(set(only) - set(known)):
        raise QueryError("no such table or view", got=unknown, expected=known)
    folder.mkdir(parents=True, exist_ok=True)
    n_rows = {name: _write(catalog, name, folder, format) for name in (only or known)}
    found = Export(catalog.snapshot_id(), format, n_rows)
    (folder / ABOUT).write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")
    return found


def relations() -> list[str]:
    """Names of the tables and views that say something of results; not those about the catalog file itself."""
    return [*(name for name in declared_tables() if name not in (*BOOKKEEPING, STATE)), *views()]


def _write(catalog: Catalog, name: str, folder: Path, format: str) -> int:  # noqa: A002
    """Write one table or view; returns its rows."""

    def written(connection: duckdb.DuckDBPyConnection) -> int:
        n_rows = 0
        batches = connection.cursor().sql(f"FROM {name}").to_arrow_reader(BATCH_ROWS)  # a name the catalog itself has
        schema = _plain(batches.schema) if format == "csv" else batches.schema
        with WRITERS[format](str(folder / f"{name}.{format}"), schema) as writer:
            for batch in batches:
                writer.write_batch(_as_text(batch, schema) if format == "csv" else batch)
                n_rows += batch.num_rows
        return n_rows

    return catalog.ask(written)


def _plain(schema: pa.Schema) -> pa.Schema:
    """A schema in which lists are text."""
    return pa.schema([pa.field(one.name, pa.string()) if pa.types.is_list(one.type) else one for one in schema])


def _as_text(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            column if column.type == field.type else pa.array(_texts(column.to_pylist()), pa.string())
            for column, field in zip(batch.columns, schema, strict=True)
        ],
        schema=schema,
    )


def _texts(values: Iterable[Any]) -> list[str | None]:
    return [None if value is None else json.dumps(value) for value in values]
