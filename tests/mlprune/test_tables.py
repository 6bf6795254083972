"""Columns to Parquet bytes and back, for every type."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.tables import TYPES, columns_of, parquet_bytes

VALUES: dict[str, list[Any]] = {
    "int32": [-1, 2**31 - 1],
    "int64": [None, 2**63 - 1],
    "float": [0.5, -0.25],
    "double": [0.1, 1e300],
    "bool": [True, False],
    "string": ["é\n", None],
    "binary": [b"\x00\xff", b""],
    "list<string>": [["a", "é"], []],
    "list<int8>": [[1, -128], []],
    "list<int32>": [[1, 2], []],
    "list<int64>": [[], [2**40]],
    "list<float>": [[0.5], [1.5, 2.5]],
    "list<double>": [[0.1, 0.2], [0.3]],
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_comes_back(kind: str) -> None:
    data, n_rows = parquet_bytes({"x": VALUES[kind]}, {"x": kind})
    assert n_rows == 2
    back = columns_of(data)["x"]
    if kind.startswith("list"):
        assert [one.tolist() for one in back] == VALUES[kind]
        assert {one.dtype for one in back} == {np.dtype(TYPES[kind].value_type.to_pandas_dtype())}
    else:
        assert back == VALUES[kind]


def test_rows_of_arrays_and_of_lists_are_the_same_bytes() -> None:
    rows = [[1.5, 2.5], [], [3.5]]
    arrays = [np.array(row, dtype=np.float32) for row in rows]
    assert parquet_bytes({"x": arrays}, {"x": "list<float>"}) == parquet_bytes({"x": rows}, {"x": "list<float>"})


def test_an_array_row_that_is_a_view_of_a_matrix_is_written_right() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    data, _ = parquet_bytes({"x": list(matrix.T)}, {"x": "list<float>"})
    assert [one.tolist() for one in columns_of(data)["x"]] == matrix.T.tolist()


@pytest.mark.parametrize("kind", TYPES)
def test_no_rows_come_back_as_no_rows(kind: str) -> None:
    data, n_rows = parquet_bytes({"x": []}, {"x": kind})
    assert (n_rows, columns_of(data)) == (0, {"x": []})


def test_columns_stand_in_the_order_of_the_schema() -> None:
    data, _ = parquet_bytes({"b": [1], "a": ["x"]}, {"a": "string", "b": "int32"})
    assert pq.read_schema(io.BytesIO(data)).names == ["a", "b"]
    assert list(columns_of(data)) == ["a", "b"]


def test_some_columns_are_read_without_the_others() -> None:
    data, _ = parquet_bytes({"a": ["x"], "b": [1], "c": [[1, 2]]}, {"a": "string", "b": "int32", "c": "list<int32>"})
    assert columns_of(data, ["b"]) == {"b": [1]}
    found = columns_of(data, ("c", "a"))
    assert (set(found), found["a"], found["c"][0].tolist()) == ({"a", "c"}, ["x"], [1, 2])


def test_rows_of_several_row_groups_come_back_whole() -> None:
    table = pa.table({"x": pa.array([[1], [2, 3], [], [4]], type=pa.list_(pa.int32())), "y": [1, 2, 3, 4]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    back = columns_of(sink.getvalue())
    assert [one.tolist() for one in back["x"]] == [[1], [2, 3], [], [4]]
    assert back["y"] == [1, 2, 3, 4]


def test_columns_of_unequal_length_or_wrong_type_are_errors() -> None:
    with pytest.raises(pa.ArrowInvalid):
        parquet_bytes({"a": [1], "b": [1, 2]}, {"a": "int32", "b": "int32"})
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        parquet_bytes({"a": ["text"]}, {"a": "int32"})
