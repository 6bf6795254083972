from collections.abc import Callable, Iterator

import duckdb
import pytest

from catalog.ingest.fold import is_current, update_schema
from catalog.ingest.insert_rows import insert_rows
from catalog.ingest.table_files import SCHEMA_VERSION, declared_tables, macros, views
from mlprune.errors import StoreError

MODEL = {"base_model_id": "m", "source": "tiny", "family": "gpt2", "n_blocks": 1, "hidden_size": 4, "n_prunable": 16}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def commented(
    connection: duckdb.DuckDBPyConnection,
    write_comments: Callable[[duckdb.DuckDBPyConnection], None],
    monkeypatch: pytest.MonkeyPatch,
) -> duckdb.DuckDBPyConnection:
    """A catalog with the comments of its tables and columns, which other tests leave out."""
    monkeypatch.setattr("catalog.ingest.fold._write_comments", write_comments)
    update_schema(connection)
    return connection


def names_of(connection: duckdb.DuckDBPyConnection, kind: str) -> set[str]:
    return {
        name
        for (name,) in connection.execute(f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal").fetchall()
    }


def test_an_empty_file_gets_all_tables_views_and_macros(connection: duckdb.DuckDBPyConnection) -> None:
    update_schema(connection)
    assert is_current(connection)
    assert names_of(connection, "table") == declared_tables().keys()
    assert names_of(connection, "view") == views().keys()
    for name in macros():
        connection.execute(f"FROM {name}('')").fetchall()


def test_an_update_of_a_current_file_keeps_its_rows(connection: duckdb.DuckDBPyConnection) -> None:
    update_schema(connection)
    insert_rows(connection, declared_tables()["base_models"], [MODEL])
    update_schema(connection)
    assert connection.execute("SELECT count(*) FROM base_models").fetchall() == [(1,)]


def test_a_changed_view_is_created_again_and_keeps_the_rows_of_tables(connection: duckdb.DuckDBPyConnection) -> None:
    update_schema(connection)
    insert_rows(connection, declared_tables()["base_models"], [MODEL])
    connection.execute("UPDATE schema_objects SET sha256 = 'another' WHERE name = 'pareto'")
    connection.execute("CREATE OR REPLACE VIEW pareto AS SELECT 1 AS n")
    assert not is_current(connection)
    update_schema(connection)
    assert is_current(connection)
    assert "is_efficient" in {row[0] for row in connection.execute("DESCRIBE pareto").fetchall()}
    assert connection.execute("SELECT count(*) FROM base_models").fetchall() == [(1,)]


def test_a_file_of_another_version_loses_its_rows(connection: duckdb.DuckDBPyConnection) -> None:
    update_schema(connection)
    insert_rows(connection, declared_tables()["base_models"], [MODEL])
    connection.execute(f"UPDATE schema_version SET version = {SCHEMA_VERSION - 1}")
    update_schema(connection)
    assert is_current(connection)
    assert connection.execute("SELECT count(*) FROM base_models").fetchall() == [(0,)]


def test_a_file_of_a_newer_version_is_refused_unchanged(connection: duckdb.DuckDBPyConnection) -> None:
    update_schema(connection)
    insert_rows(connection, declared_tables()["base_models"], [MODEL])
    connection.execute(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError) as caught:
        update_schema(connection)
    assert caught.value.context == {"expected": SCHEMA_VERSION, "got": SCHEMA_VERSION + 1}
    assert connection.execute("SELECT count(*) FROM base_models").fetchall() == [(1,)]


def test_a_failed_update_changes_nothing(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no views today")

    monkeypatch.setattr("catalog.ingest.fold._create_views", fail)
    with pytest.raises(RuntimeError):
        update_schema(connection)
    assert names_of(connection, "table") == set()


def test_every_table_and_column_has_a_meaning(commented: duckdb.DuckDBPyConnection) -> None:
    without = "SELECT {0}_name FROM duckdb_{0}s() WHERE NOT internal AND comment IS NULL"
    assert commented.execute(without.format("table")).fetchall() == []
    assert commented.execute(without.format("view")).fetchall() == []
    columns = "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
    found = commented.execute(columns).fetchall()
    assert {"metrics", "language_gap", "described_variants"} <= {table for table, _, _ in found}
    assert [row for row in found if not row[2]] == []


def test_the_meaning_of_a_view_column_is_that_of_the_view_or_of_its_table(
    commented: duckdb.DuckDBPyConnection,
) -> None:
    sql = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = $name"
    gap, metrics = (dict(commented.execute(sql, {"name": name}).fetchall()) for name in ("language_gap", "metrics"))
    assert gap["gap"] == "English value minus value: how far English is ahead"
    assert gap["value"] == metrics["value"]
