"""Encoding of tables: columns to Parquet files and back, for every type."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.store.parquet import (
    NAME_KEY,
    TYPES,
    VERSION_KEY,
    Layout,
    Lists,
    columns_of,
    decode_numeric,
    encode_numeric,
    parquet_bytes,
)
from tests.refusals import refused

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
    "list<half>": [[0.5, 65504.0], []],
    "list<float>": [[0.5], [1.5, 2.5]],
    "list<double>": [[0.1, 0.2], [0.3]],
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_is_read_back(kind: str) -> None:
    data, n_rows = parquet_bytes({"x": VALUES[kind]}, {"x": kind})
    assert n_rows == 2
    back = columns_of(data)["x"]
    if kind.startswith("list"):
        assert [row.tolist() for row in back] == VALUES[kind]
        assert {row.dtype for row in back} == {np.dtype(TYPES[kind].value_type.to_pandas_dtype())}
    else:
        assert back == VALUES[kind]


def test_rows_of_arrays_and_of_lists_give_the_same_bytes() -> None:
    rows = [[1.5, 2.5], [], [3.5]]
    arrays = [np.array(row, dtype=np.float32) for row in rows]
    assert parquet_bytes({"x": arrays}, {"x": "list<float>"}) == parquet_bytes({"x": rows}, {"x": "list<float>"})


def test_a_row_that_is_a_view_of_a_matrix_is_written_correctly() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    data, _ = parquet_bytes({"x": list(matrix.T)}, {"x": "list<float>"})
    assert [row.tolist() for row in columns_of(data)["x"]] == matrix.T.tolist()


@pytest.mark.parametrize("kind", TYPES)
def test_an_empty_table_is_read_back(kind: str) -> None:
    data, n_rows = parquet_bytes({"x": []}, {"x": kind})
    assert (n_rows, columns_of(data)) == (0, {"x": []})


def test_columns_have_the_order_of_the_schema() -> None:
    data, _ = parquet_bytes({"b": [1], "a": ["x"]}, {"a": "string", "b": "int32"})
    assert pq.read_schema(io.BytesIO(data)).names == ["a", "b"]
    assert list(columns_of(data)) == ["a", "b"]


def test_some_columns_are_read_without_the_others() -> None:
    data, _ = parquet_bytes({"a": ["x"], "b": [1], "c": [[1, 2]]}, {"a": "string", "b": "int32", "c": "list<int32>"})
    assert columns_of(data, ["b"]) == {"b": [1]}
    found = columns_of(data, ("c", "a"))
    assert (set(found), found["a"], found["c"][0].tolist()) == ({"a", "c"}, ["x"], [1, 2])


def test_rows_of_several_row_groups_are_read_back() -> None:
    table = pa.table({"x": pa.array([[1], [2, 3], [], [4]], type=pa.list_(pa.int32())), "y": [1, 2, 3, 4]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    back = columns_of(sink.getvalue())
    assert [row.tolist() for row in back["x"]] == [[1], [2, 3], [], [4]]
    assert back["y"] == [1, 2, 3, 4]


def test_columns_of_unequal_length_or_wrong_type_are_errors() -> None:
    with pytest.raises(pa.ArrowInvalid):
        parquet_bytes({"a": [1], "b": [1, 2]}, {"a": "int32", "b": "int32"})
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        parquet_bytes({"a": ["text"]}, {"a": "int32"})


@pytest.mark.parametrize("n_groups", [1, 2, 4])
@pytest.mark.parametrize("rows", [range(4), range(1), range(1, 3), range(3, 4), range(2, 9), range(2, 2), range(7, 9)])
def test_some_rows_are_read_without_the_others(rows: range, n_groups: int) -> None:
    table = pa.table({"x": pa.array([[1], [2, 3], [], [4]], type=pa.list_(pa.int32())), "y": [1, 2, 3, 4]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=4 // n_groups)
    back = columns_of(sink.getvalue(), ["x", "y"], rows=rows)
    assert [row.tolist() for row in back["x"]] == [[1], [2, 3], [], [4]][rows.start : rows.stop]
    assert back["y"] == [1, 2, 3, 4][rows.start : rows.stop]
    assert columns_of(sink.getvalue(), ["y"], rows=rows) == {"y": back["y"]}


NUMBERS = Layout(
    "numbers", 3, {"name": "string", "n": "int64", "x": "list<float>", "half": "list<half>", "wide": "list<double>"}
)


def numbers() -> dict[str, Any]:
    rows = [np.arange(n, dtype=np.float32) / 3 for n in (2, 2, 0, 3)]
    return {
        "name": ["a", "a", "é", ""],
        "n": np.array([1, 2, 3, 2**40]),
        "x": rows,
        "half": [row.astype(np.float16) for row in rows],
        "wide": [row.astype(np.float64) for row in rows],
    }


def test_numeric_columns_are_read_back_as_arrays_bit_for_bit() -> None:
    data, n_rows = encode_numeric(numbers(), NUMBERS)
    back = decode_numeric(data, NUMBERS, path="p")
    assert (n_rows, back["name"].tolist(), back["n"].tolist()) == (4, numbers()["name"], numbers()["n"].tolist())
    for name in ("x", "half", "wide"):
        found = back[name]
        assert isinstance(found, Lists)
        assert found.ends.tolist() == [2, 4, 4, 7]
        expected = np.concatenate(numbers()[name])
        assert found.values.dtype == expected.dtype
        assert found.values.tobytes() == expected.tobytes()


def test_a_numeric_table_is_a_parquet_file_of_one_row_group_that_names_its_layout() -> None:
    data, _ = encode_numeric(numbers(), NUMBERS)
    file = pq.ParquetFile(io.BytesIO(data))
    assert file.num_row_groups == 1
    assert {NAME_KEY: b"numbers", VERSION_KEY: b"3"}.items() <= file.metadata.metadata.items()
    assert pq.read_table(io.BytesIO(data)).column("x").to_pylist() == [row.tolist() for row in numbers()["x"]]
    assert [row.tolist() for row in columns_of(data)["wide"]] == [row.tolist() for row in numbers()["wide"]]


def test_some_numeric_columns_are_read_without_the_others() -> None:
    data, _ = encode_numeric(numbers(), NUMBERS)
    assert set(decode_numeric(data, NUMBERS, path="p", columns=("x", "n"))) == {"x", "n"}


def test_a_newer_version_or_another_table_is_an_error_that_names_the_file() -> None:
    data, _ = encode_numeric(numbers(), NUMBERS)
    with refused(StoreError, expected="schema version at most 2", got=3) as newer:
        decode_numeric(data, Layout("numbers", 2, NUMBERS.schema), path="p")
    assert newer.value.context == {"path": "p", "expected": "schema version at most 2", "got": 3}
    for other in (Layout("others", 3, NUMBERS.schema), Layout("numbers", 3, {"name": "string"})):
        with pytest.raises(DamagedArtefactError, match="another table"):
            decode_numeric(data, other, path="p")
    assert decode_numeric(data, Layout("numbers", 4, NUMBERS.schema), path="p")["n"].tolist() == numbers()["n"].tolist()


def test_a_missing_number_is_an_error() -> None:
    with pytest.raises(pa.ArrowInvalid):
        encode_numeric({**numbers(), "n": [1, None, 3, 4]}, NUMBERS)
