"""The catalog file: whatever is in its place, and what killed commands left next to it."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from catalog.store import Catalog, database_file, rebuild
from catalog.store.database_file import (
    FILE_NAME,
    is_up_to_date,
    pending_of_file,
    quarantine_file,
    update_copy,
    update_file,
)
from mlprune.errors import StoreError
from mlprune.store.store import Store
from tests.ended_processes import ended_tag
from tests.records import made_up_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.write_record(made_up_record("variants"))
    return store


@pytest.mark.thorough("fills and folds catalogs of its own")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)])
@pytest.mark.parametrize("is_rebuilt", [False, True])
def test_what_is_in_place_of_the_catalog_file_is_put_aside(
    store: Store, make: Callable[[Path], None], *, is_rebuilt: bool
) -> None:
    path = Path(store.uri) / FILE_NAME
    make(path)
    if is_rebuilt:
        rebuild(store)
    with Catalog.open(store) as catalog:
        assert catalog.query("SELECT count(*) AS n FROM records") == [{"n": 1}]
    assert path.is_file()
    assert os.path.lexists(f"{path}.damaged-1")


def test_at_most_one_damaged_catalog_is_kept(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    for text in ("first", "second"):
        path.write_text(text)
        assert quarantine_file(path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(f"{FILE_NAME}.damaged-1", "second")]


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_rebuild_removes_what_a_killed_one_left(store: Store) -> None:
    for ending in ("", ".wal"):
        store.write_bytes(f"{FILE_NAME}.rebuilding-{ended_tag()}-0a{ending}", b"x")
    rebuild(store)
    assert sorted(path.name for path in Path(store.uri).iterdir()) == [FILE_NAME, "records"]


@pytest.fixture
def small_store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for n in range(3):
        rows = {"base_models": [{"base_model_id": f"m{n}", "n_blocks": 1}]}
        store.write_record(made_up_record("base_models", {"n": n}, rows=rows))
    return store


def n_missing(path: Path, store: Store) -> int | None:
    """Records that a file lacks; None if its schema is of another version."""
    todo = pending_of_file(path, store)
    return None if todo is None else todo.n_records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "catalog.duckdb"


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_file_is_created_updated_and_then_up_to_date(path: Path, small_store: Store) -> None:
    assert (update_file(path, small_store).n_records, is_up_to_date(path, small_store)) == (3, True)
    small_store.write_record(made_up_record("base_models", {"n": 9}, rows={"base_models": []}))
    assert (n_missing(path, small_store), is_up_to_date(path, small_store)) == (1, False)
    assert update_file(path, small_store).n_records == 1
    assert update_file(path, small_store).n_records == 0


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_large_fold_closes_the_file_between_its_transactions(
    path: Path, small_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "SMALL_FOLD", 0)
    monkeypatch.setattr(database_file, "WRITE_PAUSE_S", 0.2)
    started_at = time.monotonic()
    assert update_file(path, small_store).n_records == 3
    assert time.monotonic() - started_at >= 0.4  # schema, records, materialized tables
    assert is_up_to_date(path, small_store)


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_copy_is_updated_and_the_file_is_not(path: Path, small_store: Store, tmp_path: Path) -> None:
    update_file(path, small_store)
    small_store.write_record(made_up_record("base_models", {"n": 9}, rows={"base_models": []}))
    connection = update_copy(path, tmp_path, small_store)
    assert connection is not None
    with connection:
        assert connection.execute("SELECT count(*) FROM records").fetchall() == [(4,)]
        with pytest.raises(duckdb.Error):
            connection.execute("SELECT * FROM glob('/*')")
    assert n_missing(path, small_store) == 1


@pytest.mark.thorough("fills and folds catalogs of its own")
def test_a_file_of_another_schema_version_lacks_an_unknown_number_of_records(path: Path, small_store: Store) -> None:
    update_file(path, small_store)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 9999")
    assert n_missing(path, small_store) is None
    with pytest.raises(StoreError):
        update_file(path, small_store)
