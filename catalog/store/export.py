"""Export tables and views to files for other programs: Parquet, CSV, Arrow."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from catalog.ingest.fold import BOOKKEEPING, STATE
from catalog.ingest.table_files import declared_tables, views
from catalog.results import csv_cell
from catalog.sql_files import INTERNAL
from catalog.store.catalog import Catalog
from catalog.store.connections import interruptible
from mlprune.atomic import remove_left_over, replacing
from mlprune.errors import BadInputError, QueryError, unknown

BATCH_ROWS = 100_000
"""Maximum number of rows in memory."""
SUMMARY_FILE = "snapshot.json"


class BatchWriter(Protocol):
    """Writes batches of rows to a file."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write one batch."""


OpenWriter = Callable[[str, pa.Schema], AbstractContextManager[BatchWriter]]
WRITERS: Mapping[str, OpenWriter] = {
    "parquet": lambda path, schema: pa.parquet.ParquetWriter(path, schema, compression="zstd"),
    "csv": pa.csv.CSVWriter,
    "arrow": pa.ipc.new_file,
}
"""Format (also the suffix of the files) -> writer."""


@dataclass(frozen=True)
class Export:
    """Summary of an export, also written to `snapshot.json`."""

    snapshot_id: str
    format: str
    n_rows: Mapping[str, int]
    """Table or view -> number of rows."""


def export_catalog(catalog: Catalog, folder: Path, *, format: str, only: Sequence[str] = ()) -> Export:  # noqa: A002
    """Write a folder with a file `<name>.<format>` for each table and view, and a summary; it appears as a whole.

    Args:
        folder: folder to create; if it exists, it must be empty.
        format: a key of `WRITERS`. In CSV a list is its JSON text, and a text is that of `csv_cell`.
        only: names of tables and views, helpers as `internal.NAME`; if empty, all tables and views but helpers.
    Raises:
        BadInputError: there is no such format, or the folder is not empty or cannot be written.
        QueryError: there is no such table or view.
    """
    if format not in WRITERS:
        raise BadInputError("no such format", expected=sorted(WRITERS), got=format)
    if folder.exists() and any(folder.iterdir()):
        raise BadInputError("the folder is not empty", path=str(folder), expected="a new or empty folder")
    names = relations()
    for name in only:
        require_relation(name)
    try:
        with replacing(folder.resolve()) as temporary:
            temporary.mkdir()
            n_rows = {name: _write(catalog, name, temporary, format) for name in (only or names)}
            export = Export(catalog.snapshot_id(), format, n_rows)
            (temporary / SUMMARY_FILE).write_text(json.dumps(asdict(export), indent=1) + "\n", "utf-8")
        remove_left_over(folder.resolve())
    except OSError as err:
        raise BadInputError("the export cannot be written", path=str(folder), reason=err.strerror or str(err)) from err
    return export


def relations() -> list[str]:
    """Return the names of all tables and views except helpers and tables about the catalog file itself."""
    return [name for name in _readable() if not name.startswith(f"{INTERNAL}.")]


def _readable() -> list[str]:
    """Return the names in SQL of the tables and views, helpers included."""
    tables = [table.relation for name, table in declared_tables().items() if name not in (*BOOKKEEPING, STATE)]
    return [*tables, *(view.relation for view in views().values())]


def require_relation(name: str) -> None:
    """Check that a table or view has a name, with its schema if it is a helper.

    Raises:
        QueryError: none has it.
    """
    readable = _readable()
    if name not in readable:
        listing = (
            "SELECT table_name FROM duckdb_columns() WHERE NOT internal GROUP BY ALL, or docs/reference/catalog.md"
        )
        nearest = [f"{INTERNAL}.{name}"] if f"{INTERNAL}.{name}" in readable else readable
        raise unknown("table or view", name, nearest, error=QueryError, n_nearest=3, listing=listing)


def _write(catalog: Catalog, name: str, folder: Path, format: str) -> int:  # noqa: A002
    """Write one table or view, and return its number of rows."""

    def write_with(connection: duckdb.DuckDBPyConnection) -> int:
        cursor = connection.cursor()
        return interruptible(cursor, lambda: write_rows(cursor))

    def write_rows(cursor: duckdb.DuckDBPyConnection) -> int:
        n_rows = 0
        batches = cursor.sql(f"FROM {name}").to_arrow_reader(BATCH_ROWS)  # a name of the catalog itself
        schema = _without_lists(batches.schema) if format == "csv" else batches.schema
        with WRITERS[format](str(folder / f"{name}.{format}"), schema) as writer:
            for batch in batches:
                writer.write_batch(_csv_batch(batch, schema) if format == "csv" else batch)
                n_rows += batch.num_rows
        return n_rows

    return catalog.use_connection(write_with)


def _without_lists(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which lists are text."""
    fields = [pa.field(field.name, pa.string()) if pa.types.is_list(field.type) else field for field in schema]
    return pa.schema(fields)


def _csv_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch in which lists are JSON texts, and texts are those of `csv_cell`."""
    columns = (
        column if column.type == field.type else pa.array(_json_texts(column.to_pylist()), pa.string())
        for column, field in zip(batch.columns, schema, strict=True)
    )
    return pa.RecordBatch.from_arrays(
        [_csv_texts(column) if pa.types.is_string(column.type) else column for column in columns], schema=schema
    )


def _csv_texts(column: pa.Array) -> pa.Array:
    """Return the texts of `csv_cell`, each computed once however often it occurs."""
    encoded = column.dictionary_encode()
    texts = pa.array([csv_cell(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, texts).cast(pa.string())


def _json_texts(values: Iterable[object]) -> list[str | None]:
    return [None if value is None else json.dumps(value) for value in values]
