"""Columns in, Parquet bytes out, and back: the one way artefacts get their schema.

Types are written as short names (`int32`, `list<float>`), so that rooms which describe a table need not know pyarrow.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
    "list<float>": pa.list_(pa.float32()),
    "list<double>": pa.list_(pa.float64()),
}

Columns = Mapping[str, Sequence[Any]]
Schema = Mapping[str, str]


def parquet_bytes(columns: Columns, schema: Schema) -> tuple[bytes, int]:
    """The Parquet file of some columns, and its number of rows; equal columns are equal bytes.

    Args:
        columns: name -> values, all equally long; a list column takes lists or 1-d numpy arrays.
        schema: name -> key of `TYPES`, in the order of the file.
    """
    arrays = [_array(columns[name], TYPES[kind]) for name, kind in schema.items()]
    table = pa.Table.from_arrays(arrays, names=list(schema))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue(), table.num_rows


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array; numpy rows of a list column are joined at once instead of value by value."""
    if pa.types.is_list(kind) and len(values) and isinstance(values[0], np.ndarray):
        offsets = np.cumsum([0, *(len(value) for value in values)], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(values), type=kind.value_type))
    return pa.array(values, type=kind)


def columns_of(data: bytes, columns: Sequence[str] | None = None) -> dict[str, list[Any]]:
    """The columns of a Parquet file, all or some; the values of a list column are 1-d numpy arrays."""
    table = pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns))
    return {name: _values(table.column(name).combine_chunks()) for name in table.column_names}


def _values(column: pa.Array) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
    if pa.types.is_list(column.type):
        flat = column.flatten().to_numpy(zero_copy_only=False).copy()
        ends = np.cumsum(column.value_lengths().to_numpy(zero_copy_only=False))
        return list(np.split(flat, ends[:-1])) if len(ends) else []
    return list(column.to_pylist())
