"""Encoding of tables as Parquet files.

Types have short names (`int32`, `list<float>`), so that modules which describe a table do not need pyarrow. Large
numeric tables (statistics, activations) have a layout with a version, an encoding for floats, and are read as arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlprune.errors import DamagedArtefactError, StoreError

TYPES: Mapping[str, pa.DataType] = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
    "list<string>": pa.list_(pa.string()),
    "list<int8>": pa.list_(pa.int8()),
    "list<int32>": pa.list_(pa.int32()),
    "list<int64>": pa.list_(pa.int64()),
    "list<half>": pa.list_(pa.float16()),
    "list<float>": pa.list_(pa.float32()),
    "list<double>": pa.list_(pa.float64()),
}

NAME_KEY, VERSION_KEY = b"mlprune.table", b"mlprune.schema_version"
"""Keys of a file's metadata."""

Values: TypeAlias = list[Any]
"""Values of a column; those of a list column are 1-d numpy arrays."""
Columns = Mapping[str, Sequence[Any]]
Schema = Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """The layout of a large numeric table, which its files name in their metadata."""

    name: str
    version: int
    """Raised when older code could no longer read the files. A file without a version has version 1."""
    schema: Schema
    """No value may be missing."""


@dataclass(frozen=True)
class Lists:
    """The values of a list column, concatenated."""

    values: np.ndarray
    """Read-only where the file's memory is shared."""
    ends: np.ndarray
    """[rows] int64: the end of each row's values."""


def parquet_bytes(columns: Columns, schema: Schema) -> tuple[bytes, int]:
    """Encode columns as a Parquet file; return it with its number of rows. Equal columns give equal bytes.

    Args:
        columns: name -> values, all of the same length; a list column takes lists or 1-d numpy arrays.
        schema: name -> key of `TYPES`, in the order of the file.
    """
    arrays = [_array(columns[name], TYPES[kind]) for name, kind in schema.items()]
    table = pa.Table.from_arrays(arrays, names=list(schema))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes(), table.num_rows


def encode_numeric(columns: Columns, layout: Layout) -> tuple[bytes, int]:
    """Encode a large numeric table; return the file with its number of rows. Equal columns give equal bytes.

    The file has one row group, and its metadata name the layout. Floats are stored byte plane by byte plane: signs and
    exponents are similar and compress well, the other bytes hardly at all. Numbers get no dictionaries and no value may
    be missing, since both would take more time than everything else.

    Args:
        columns: as for `parquet_bytes`; numeric columns may be numpy arrays.
        layout: the columns of the file.
    """
    fields = [_required(name, TYPES[kind]) for name, kind in layout.schema.items()]
    schema = pa.schema(fields, metadata={NAME_KEY: layout.name, VERSION_KEY: str(layout.version)})
    arrays = [_array(columns[field.name], field.type) for field in fields]
    table = pa.Table.from_arrays(arrays, schema=schema)
    split = [f"{field.name}.list.element" for field in fields if field.type in _SPLIT]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, table.num_rows),
        compression="zstd",
        use_dictionary=[field.name for field in fields if pa.types.is_string(field.type)],
        use_byte_stream_split=split,
    )
    return sink.getvalue().to_pybytes(), table.num_rows


def _required(name: str, kind: pa.DataType) -> pa.Field:
    """Return a field without missing values, neither rows nor elements of lists."""
    return pa.field(name, _required_kind(kind), nullable=False)


def _required_kind(kind: pa.DataType) -> pa.DataType:
    if not pa.types.is_list(kind):
        return kind
    return pa.list_(pa.field("element", kind.value_type, nullable=False))


_SPLIT = tuple(_required_kind(TYPES[name]) for name in ("list<float>", "list<double>"))
"""Types stored in byte planes: the only ones for which DuckDB reads this encoding."""


def decode_numeric(
    data: bytes, layout: Layout, *, path: str, columns: Sequence[str] | None = None
) -> dict[str, np.ndarray | Lists]:
    """Decode all or some columns of a large numeric table: an array per column, `Lists` for a list column.

    Args:
        data: the file.
        layout: the expected layout; the file's version may be lower.
        path: path of the file, for messages.

    Raises:
        StoreError: the version of the file is higher than that of the layout.
        DamagedArtefactError: the file contains another table, or has other columns.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    metadata = file.metadata.metadata or {}
    table_and_columns = (metadata.get(NAME_KEY, layout.name.encode()).decode(), file.schema_arrow.names)
    expected = (layout.name, list(layout.schema))
    if table_and_columns != expected:
        raise DamagedArtefactError("a file contains another table", path=path, expected=expected, got=table_and_columns)
    version = int(metadata.get(VERSION_KEY, b"1"))
    if version > layout.version:
        message = "a file was written by a newer version of this program"
        raise StoreError(message, path=path, expected=f"schema version at most {layout.version}", got=version)
    table = file.read(columns=None if columns is None else list(columns), use_threads=False)
    return {name: _numbers(table.column(name)) for name in table.column_names}


def _numbers(column: pa.ChunkedArray) -> np.ndarray | Lists:
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    if not pa.types.is_list(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    first = array.offsets[0].as_py() if len(array) else 0
    return Lists(array.flatten().to_numpy(zero_copy_only=False), array.offsets.to_numpy()[1:].astype(np.int64) - first)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return an Arrow array; numpy rows of a list column are concatenated, not converted value by value."""
    if pa.types.is_list(kind) and len(values) and isinstance(values[0], np.ndarray):
        offsets = pa.array(np.cumsum([0, *(len(value) for value in values)], dtype=np.int32))
        return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(values), type=kind.value_type), type=kind)
    return pa.array(values, type=kind)


def columns_of(data: bytes, columns: Sequence[str] | None = None, *, rows: range | None = None) -> dict[str, Values]:
    """Decode all or some columns of a Parquet file; the values of a list column are 1-d numpy arrays.

    Args:
        rows: decode only these rows, in the memory of about as many.
    """
    names = None if columns is None else list(columns)
    if rows is None:  # a small file is decoded faster by one thread than by several
        table = pq.ParquetFile(pa.BufferReader(data)).read(columns=names, use_threads=False)
    else:
        table = _some_rows(data, names, rows)
    return {name: _values(table.column(name).combine_chunks()) for name in table.column_names}


def n_rows_of(data: bytes) -> int:
    """Return the number of rows of a Parquet file, as its footer states it.

    Raises:
        ValueError: the bytes are not a Parquet file.
    """
    return int(pq.ParquetFile(pa.BufferReader(data)).metadata.num_rows)


def _some_rows(data: bytes, columns: list[str] | None, rows: range) -> pa.Table:
    """Decode consecutive rows of a file, which is read in batches of as many rows."""
    file = pq.ParquetFile(pa.BufferReader(data))
    slices, start = [], 0
    for batch in file.iter_batches(batch_size=max(1, len(rows)), columns=columns, use_threads=False):
        if start >= rows.stop:
            break
        first, last = max(rows.start - start, 0), min(rows.stop - start, batch.num_rows)
        if first < last:
            slices.append(batch.slice(first, last - first))
        start += batch.num_rows
    names = file.schema_arrow.names if columns is None else columns
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    return pa.Table.from_batches(slices, schema=slices[0].schema if slices else schema)


def _values(column: pa.Array) -> Values:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
    if pa.types.is_list(column.type):
        flat = column.flatten().to_numpy(zero_copy_only=False).copy()
        ends = np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))
        return list(np.split(flat, ends[:-1])) if len(ends) else []
    return list(column.to_pylist())
