"""The catalog file: whatever is in its place, and what killed commands left next to it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.store import Catalog, rebuild
from catalog.store.database_file import FILE_NAME, quarantine_file
from mlprune.store.store import Store
from tests.ended_processes import ended_tag
from tests.records import made_up_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.write_record(made_up_record("variants"))
    return store


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


def test_a_rebuild_removes_what_a_killed_one_left(store: Store) -> None:
    for ending in ("", ".wal"):
        store.write_bytes(f"{FILE_NAME}.rebuilding-{ended_tag()}-0a{ending}", b"x")
    rebuild(store)
    assert sorted(path.name for path in Path(store.uri).iterdir()) == [FILE_NAME, "records"]
