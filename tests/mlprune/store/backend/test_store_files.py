"""Files of a store: ranges, sizes, large files and listings, in a folder and in an object store."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.store.backend import store_files
from mlprune.store.backend.local_files import FileInfo
from mlprune.store.backend.store_files import StoreFiles
from tests.object_store import BUCKET, ObjectStoreServer


@pytest.fixture
def remote(server: ObjectStoreServer) -> StoreFiles:
    return StoreFiles(f"s3://{BUCKET}/a/store")


@pytest.fixture
def local(tmp_path: Path) -> StoreFiles:
    return StoreFiles(tmp_path / "store")


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest) -> StoreFiles:
    opened: StoreFiles = request.getfixturevalue(request.param)
    return opened


def test_a_range_ends_where_the_file_ends(store: StoreFiles) -> None:
    store.write("a/b.bin", b"0123456789")
    assert store.read_range("a/b.bin", 2, 3) == b"234"
    assert store.read_range("a/b.bin", 8, 100) == b"89"
    assert store.read_range("a/b.bin", 10, 1) == b""
    with pytest.raises(FileNotFoundError):
        store.read_range("a/nothing", 0, 1)


@pytest.mark.parametrize("name", ["plain.bin", "records.jsonl.zst", "texts.jsonl.gz"])
def test_files_are_stored_unchanged_whatever_their_ending(store: StoreFiles, name: str) -> None:
    store.write(name, b"plain bytes")
    assert store.read_file(name) == b"plain bytes"
    assert store.sizes("") == {name: 11}


def test_sizes_of_some_files_show_which_are_missing(store: StoreFiles) -> None:
    store.write("a/one", b"1")
    store.write("a/b/three", b"333")
    assert store.sizes_of(["a/b/three", "a/nothing", "a/one", "a"]) == [3, -1, 1, -1]
    assert store.sizes_of([]) == []
    assert store.sizes("a") == {"a/one": 1, "a/b/three": 3}


def test_a_large_file_is_uploaded_and_downloaded_in_parts(
    store: StoreFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_files, "PART_BYTES", 1000)
    (tmp_path / "source").write_bytes(os.urandom(5500))
    store.upload(tmp_path / "source", "catalog.duckdb")
    store.download("catalog.duckdb", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    with pytest.raises(FileNotFoundError):
        store.download("nothing", tmp_path / "other")


def test_the_size_and_the_age_of_a_file_are_known(store: StoreFiles) -> None:
    store.write("a/one", b"1")
    info = store.file_info("a/one")
    assert info is not None
    assert (info.path, info.n_bytes) == ("a/one", 1)
    assert abs(info.modified_at - time.time()) < 300
    assert [FileInfo(file.path, file.n_bytes, info.modified_at) for file in store.files("a")] == [info]
    assert store.file_info("a/nothing") is None
    assert store.file_info("a") is None


def test_a_change_of_a_folder_is_noticed_but_not_of_an_object_store(local: StoreFiles, remote: StoreFiles) -> None:
    assert remote.changed_at("a") is None
    assert local.changed_at("a") == 0
    local.write("a/one", b"1")
    os.utime(Path(local.uri) / "a", ns=(1, 1))
    local.write("a/two", b"2")
    assert local.changed_at("a") not in (0, 1)


def test_a_file_that_vanishes_during_a_listing_hides_no_other(local: StoreFiles) -> None:
    for number in range(5):
        local.write(f"a/{number}", b"1")
    listing = local.files("a")
    first = next(listing)
    gone = sorted({f"a/{number}" for number in range(5)} - {first.path})[0]
    local.delete(gone)
    assert {first.path, *(file.path for file in listing)} == {f"a/{number}" for number in range(5)} - {gone}


def test_a_file_that_replaces_another_during_a_listing_leaves_one_of_them_named(
    local: StoreFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.write("a/old", b"1")
    scandir = os.scandir

    @contextmanager
    def then_replaced(folder: str) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            yield entries
        local.write("a/new", b"1")
        local.delete("a/old")

    monkeypatch.setattr(os, "scandir", then_replaced)
    assert local.list("a") == ["a/old"]
    assert local.list("a") == ["a/new"]


def test_the_files_directly_in_a_folder_are_listed_with_unfinished_ones(store: StoreFiles) -> None:
    for path in ("one", "two.writing-0123abcd", "a/three"):
        store.write(path, b"1")
    assert sorted(file.path for file in store.files_in()) == ["one", "two.writing-0123abcd"]
    assert [file.path for file in store.files_in("a")] == ["a/three"]
    assert [file.path for file in store.files_in("a", prefix="th")] == ["a/three"]
    assert list(store.files_in("a", prefix="hree")) == []
    assert list(store.files_in("nothing")) == []


@pytest.mark.parametrize("obstacle", ["masks/x/block.parquet/inside", "masks/x", "masks"])
def test_a_write_moves_obstacles_to_the_quarantine(local: StoreFiles, obstacle: str) -> None:
    local.write(obstacle, b"an obstacle")
    local.write("masks/x/block.parquet", b"1")
    assert local.read_file("masks/x/block.parquet") == b"1"
    (moved,) = local.list("quarantine")
    assert local.read_file(moved) == b"an obstacle"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_write_to_a_read_only_folder_is_an_error_in_one_line(
    local: StoreFiles, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store_files, "write_atomically", refuse)
    with pytest.raises(StoreError) as caught:
        local.write("masks/a.bin", b"1")
    assert caught.value.context["path"] == "masks/a.bin"
    assert "\n" not in str(caught.value)
