import json
from collections.abc import Iterator
from contextlib import nullcontext

import duckdb
import pytest

from catalog.ingest import fold
from catalog.ingest.fold import WRONG_ROWS, fold_into, pending, update_schema
from catalog.ingest.insert_rows import read_state
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
