from collections.abc import Iterator

import duckdb
import pytest

from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.schema import update_schema
from catalog.ingest.table_files import declared_tables

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


def test_a_value_of_another_type_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ValueError, match="n_removed"):
        insert_rows(connection, LAYERS, [{**layer(1), "n_removed": "many"}])
