"""Folds of records into a connection, and the schema of a catalog."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import duckdb
import pytest

from catalog.ingest import fold
from catalog.ingest.fold import WRONG_ROWS, fold_into, is_current, pending, update_schema
from catalog.ingest.insert_rows import insert_rows, read_state
from catalog.ingest.table_files import SCHEMA_VERSION, declared_tables, macros, views
from mlprune.errors import StoreError
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.records import made_up_record


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        update_schema(connection)
        yield connection


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of its own: tests of this module need no filled one."""
    return Store(tmp_path_factory.mktemp("store"))


def write_model(store: Store, n: int, *, n_blocks: object = 1) -> Record:
    record = made_up_record(
        "base_models", {"n": n}, rows={"base_models": [{"base_model_id": f"m{n}", "n_blocks": n_blocks}]}
    )
    store.write_record(record)
    return record


def folded_models(connection: duckdb.DuckDBPyConnection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT base_model_id FROM base_models ORDER BY ALL").fetchall()]


def fold_all(connection: duckdb.DuckDBPyConnection, store: Store) -> tuple[int, int]:
    return fold_into(lambda: nullcontext(connection), store, pending(connection, store), errors=duckdb.Error)


def test_only_new_records_are_pending(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    first = write_model(store, 1)
    assert pending(connection, store).records == {"base_models": {first.id}}
    assert fold_all(connection, store) == (1, 1)
    assert pending(connection, store).is_empty
    second = write_model(store, 2)
    todo = pending(connection, store)
    assert (todo.records, todo.n_records, todo.has_removed_records) == ({"base_models": {second.id}}, 1, False)


def test_everything_is_folded_again_after_a_record_is_removed(
    connection: duckdb.DuckDBPyConnection, store: Store
) -> None:
    first, second = write_model(store, 1), write_model(store, 2)
    fold_all(connection, store)
    store.quarantine(first)
    todo = pending(connection, store)
    assert (todo.has_removed_records, todo.records) == (True, {"base_models": {second.id}})
    fold_all(connection, store)
    assert folded_models(connection) == ["m2"]


def test_a_record_that_does_not_fit_is_skipped_and_the_others_are_folded(
    connection: duckdb.DuckDBPyConnection, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = write_model(store, 1, n_blocks="many")
    for n in (2, 3, 4):
        write_model(store, n)
    assert fold_all(connection, store) == (3, 3)
    assert folded_models(connection) == ["m2", "m3", "m4"]
    assert wrong.path in caplog.text
    assert pending(connection, store).records == {"base_models": {wrong.id}}


def test_an_interrupted_fold_is_completed_by_the_next_one(
    connection: duckdb.DuckDBPyConnection, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(store, 1)
    with monkeypatch.context() as patch:
        patch.setattr(fold, "refresh_all", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fold_all(connection, store)
    todo = pending(connection, store)
    assert (todo.n_records, todo.materialized_is_current, todo.is_empty) == (0, False, False)
    assert fold_all(connection, store) == (0, 0)
    assert pending(connection, store).is_empty


def test_an_unchanged_listing_is_not_compared_again(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    write_model(store, 1)
    fold_all(connection, store)
    assert pending(connection, store).n_in_store is None
    write_model(store, 2)
    assert pending(connection, store).n_in_store == 2


def test_records_with_doubled_or_foreign_rows_are_noted_until_they_are_removed(
    connection: duckdb.DuckDBPyConnection, store: Store
) -> None:
    store.write_record(made_up_record("base_models", {"n": 1}))
    fold_all(connection, store)
    assert read_state(connection, WRONG_ROWS) is None
    foreign = write_model(store, 2)
    overlap = {"variant_a": "a", "variant_b": "b", "block": 0, "layer": "fc1", "jaccard": 0.5}
    doubled = made_up_record("mask_overlaps", rows={"mask_overlaps": [overlap] * 2})
    store.write_record(doubled)
    fold_all(connection, store)
    assert json.loads(read_state(connection, WRONG_ROWS) or "") == sorted([foreign.path, doubled.path])
    store.quarantine(foreign)
    fold_all(connection, store)
    assert json.loads(read_state(connection, WRONG_ROWS) or "") == [doubled.path]
    store.quarantine(doubled)
    fold_all(connection, store)
    assert read_state(connection, WRONG_ROWS) is None


MODEL = {"base_model_id": "m", "source": "tiny", "family": "gpt2", "n_blocks": 1, "hidden_size": 4, "n_prunable": 16}


@pytest.fixture
def bare() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as bare:
        yield bare


@pytest.fixture
def commented(
    bare: duckdb.DuckDBPyConnection,
    write_comments: Callable[[duckdb.DuckDBPyConnection], None],
    monkeypatch: pytest.MonkeyPatch,
) -> duckdb.DuckDBPyConnection:
    """A catalog with the comments of its tables and columns, which other tests leave out."""
    monkeypatch.setattr("catalog.ingest.fold._write_comments", write_comments)
    update_schema(bare)
    return bare


def names_of(bare: duckdb.DuckDBPyConnection, kind: str) -> set[str]:
    return {name for (name,) in bare.execute(f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal").fetchall()}


def test_an_empty_file_gets_all_tables_views_and_macros(bare: duckdb.DuckDBPyConnection) -> None:
    update_schema(bare)
    assert is_current(bare)
    assert names_of(bare, "table") == declared_tables().keys()
    assert names_of(bare, "view") == views().keys()
    for name in macros():
        bare.execute(f"FROM {name}('')").fetchall()


def test_an_update_of_a_current_file_keeps_its_rows(bare: duckdb.DuckDBPyConnection) -> None:
    update_schema(bare)
    insert_rows(bare, declared_tables()["base_models"], [MODEL])
    update_schema(bare)
    assert bare.execute("SELECT count(*) FROM base_models").fetchall() == [(1,)]


def test_a_changed_view_is_created_again_and_keeps_the_rows_of_tables(bare: duckdb.DuckDBPyConnection) -> None:
    update_schema(bare)
    insert_rows(bare, declared_tables()["base_models"], [MODEL])
    bare.execute("UPDATE schema_objects SET sha256 = 'another' WHERE name = 'internal.pareto'")
    bare.execute("CREATE OR REPLACE VIEW internal.pareto AS SELECT 1 AS n")
    assert not is_current(bare)
    update_schema(bare)
    assert is_current(bare)
    assert "is_efficient" in {row[0] for row in bare.execute("DESCRIBE internal.pareto").fetchall()}
    assert bare.execute("SELECT count(*) FROM base_models").fetchall() == [(1,)]


@pytest.mark.parametrize("change", [f"version = {SCHEMA_VERSION - 1}", "statements = 'others'"])
def test_a_file_of_another_version_or_of_other_statements_loses_its_rows(
    bare: duckdb.DuckDBPyConnection, change: str
) -> None:
    update_schema(bare)
    insert_rows(bare, declared_tables()["base_models"], [MODEL])
    bare.execute(f"UPDATE schema_version SET {change}")
    update_schema(bare)
    assert is_current(bare)
    assert bare.execute("SELECT count(*) FROM base_models").fetchall() == [(0,)]


def test_a_file_of_a_newer_version_is_refused_unchanged(bare: duckdb.DuckDBPyConnection) -> None:
    update_schema(bare)
    insert_rows(bare, declared_tables()["base_models"], [MODEL])
    bare.execute(f"UPDATE schema_version SET version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError) as caught:
        update_schema(bare)
    assert caught.value.context == {"expected": SCHEMA_VERSION, "got": SCHEMA_VERSION + 1}
    assert bare.execute("SELECT count(*) FROM base_models").fetchall() == [(1,)]


def test_a_failed_update_changes_nothing(bare: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no views today")

    monkeypatch.setattr("catalog.ingest.fold._create_views", fail)
    with pytest.raises(RuntimeError):
        update_schema(bare)
    assert names_of(bare, "table") == set()


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_every_table_and_column_has_a_meaning(commented: duckdb.DuckDBPyConnection) -> None:
    without = "SELECT {0}_name FROM duckdb_{0}s() WHERE NOT internal AND comment IS NULL"
    assert commented.execute(without.format("table")).fetchall() == []
    assert commented.execute(without.format("view")).fetchall() == []
    columns = "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
    found = commented.execute(columns).fetchall()
    assert {"metrics", "language_gap", "described_variants"} <= {table for table, _, _ in found}
    assert [row for row in found if not row[2]] == []


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_the_meaning_of_a_view_column_is_that_of_the_view_or_of_its_table(
    commented: duckdb.DuckDBPyConnection,
) -> None:
    sql = "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = $name"
    gap, metrics = (dict(commented.execute(sql, {"name": name}).fetchall()) for name in ("language_gap", "metrics"))
    assert gap["minus_english"] == "value minus English value; below 0 if English is ahead"
    assert gap["value"] == metrics["value"]
