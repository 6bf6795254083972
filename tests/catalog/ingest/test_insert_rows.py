"""Conversion of rows to typed columns."""

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from catalog.ingest.fold import update_schema
from catalog.ingest.insert_rows import arrow_rows, insert_rows
from catalog.ingest.table_files import declared_tables

COLUMNS = (
    ("name", "VARCHAR"),
    ("n", "INTEGER"),
    ("size", "BIGINT"),
    ("counts", "BIGINT[]"),
    ("value", "DOUBLE"),
    ("is_dense", "BOOLEAN"),
)


def test_rows_become_columns_with_null_for_what_is_missing() -> None:
    whole = {"name": "a", "n": 1, "size": 2**40, "counts": [2**40, 0], "value": 1, "is_dense": True}
    rows: list[dict[str, Any]] = [whole, {"other": 5}]
    assert arrow_rows(COLUMNS, rows).to_pylist() == [
        {**whole, "value": 1.0},
        dict.fromkeys((name for name, _ in COLUMNS), None),
    ]


def test_a_value_other_than_text_becomes_json_text_in_a_column_of_text() -> None:
    rows = [{"name": 5}, {"name": "5"}, {"name": {"a": [1]}}, {}]
    assert arrow_rows(COLUMNS[:1], rows).column("name").to_pylist() == ["5", "5", '{"a": [1]}', None]


@pytest.mark.parametrize(
    "row",
    [
        {"n": "many"},
        {"n": 1.5},
        {"n": 2**31},
        {"size": 2**63},
        {"counts": [1.5]},
        {"counts": ["one"]},
        {"counts": 1},
        {"value": "high"},
        {"is_dense": "yes"},
    ],
)
def test_a_value_of_another_type_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"column {next(iter(row))}"):
        arrow_rows(COLUMNS, [row])


NAMES = declared_tables()["names"]
LAYERS = declared_tables()["variant_layers"]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        update_schema(connection)
        yield connection


def name(text: str) -> dict[str, str]:
    return {"recipe": "r", "kind": "variant", "name": text, "id": "1"}


def layer(n_removed: int) -> dict[str, object]:
    return {"variant_id": "v", "block": 0, "layer": "fc1", "n_weights": 10, "n_removed": n_removed}


def removed(connection: duckdb.DuckDBPyConnection) -> list[tuple[int]]:
    return connection.execute("SELECT n_removed FROM variant_layers").fetchall()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_rows_with_the_same_key_the_greater_one_stays(
    connection: duckdb.DuckDBPyConnection, order: tuple[int, int]
) -> None:
    for n_removed in order:
        insert_rows(connection, LAYERS, [layer(n_removed)])
    assert removed(connection) == [(2,)]


def test_of_rows_with_the_same_key_in_one_insert_the_greater_one_stays(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    insert_rows(connection, LAYERS, [layer(3), layer(1), layer(2)])
    assert removed(connection) == [(3,)]


def test_equal_rows_of_keys_only_are_inserted_once(connection: duckdb.DuckDBPyConnection) -> None:
    insert_rows(connection, NAMES, [name("a"), name("b")])
    insert_rows(connection, NAMES, [name("b"), name("b")])
    assert connection.execute("SELECT name FROM names ORDER BY name").fetchall() == [("a",), ("b",)]


def test_unknown_keys_are_ignored_and_missing_ones_are_null(connection: duckdb.DuckDBPyConnection) -> None:
    insert_rows(connection, LAYERS, [{**layer(1), "unknown": 5}])
    assert connection.execute("SELECT n_dampings FROM variant_layers").fetchall() == [(None,)]


def test_a_key_column_that_a_row_lacks_is_an_empty_text(connection: duckdb.DuckDBPyConnection) -> None:
    insert_rows(connection, NAMES, [{"recipe": "r", "kind": "variant", "name": "a"}])
    assert connection.execute("SELECT id FROM names").fetchall() == [("",)]


def test_a_value_of_another_type_is_refused_of_insert(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="n_removed"):
        insert_rows(connection, LAYERS, [{**layer(1), "n_removed": "many"}])
