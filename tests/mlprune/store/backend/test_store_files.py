"""Files of a store: connection, ranges, sizes, listings and quarantine, in a folder and in an object store."""

import errno
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.store.backend import store_files
from mlprune.store.backend.connection import StoreConnection
from mlprune.store.backend.local_files import (
    NOT_A_FILE,
    FileInfo,
    create_local,
    entries_below,
    entries_in,
    file_infos,
    file_size,
    read_local,
)
from mlprune.store.backend.store_files import StoreFiles
from mlprune.store.claims import Claims, claim_path
from mlprune.store.compaction import compact
from mlprune.store.segments import void_path
from mlprune.store.store import Store
from tests.object_store import BUCKET, ObjectStoreServer
from tests.records import made_up_record
from tests.refusals import refused


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
    with refused(StoreError, path="masks/a.bin"):
        local.write("masks/a.bin", b"1")


def test_a_file_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with refused(StoreError, got="a file"):
        StoreConnection(tmp_path / "file")


def test_a_relative_path_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    connection = StoreConnection("store")
    monkeypatch.chdir("/")
    assert connection.local_root == pickle.loads(pickle.dumps(connection)).local_root == tmp_path / "store"


def test_only_a_folder_is_local(tmp_path: Path) -> None:
    assert StoreConnection(tmp_path).is_local
    remote = StoreConnection("mock:///bucket")
    assert not remote.is_local
    assert remote.local_root is None


def test_a_store_of_another_user_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    with refused(StoreError, store=str(tmp_path)):
        Store(tmp_path)


def test_a_folder_of_another_user_in_a_store_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    store = Store(tmp_path)
    monkeypatch.setattr("os.scandir", refuse)
    with refused(StoreError, path=str(tmp_path / "records")):
        store.list("records")


def test_files_of_all_depths_are_listed_with_their_sizes(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep").write_bytes(b"123")
    (tmp_path / "top").write_bytes(b"1")
    infos = {Path(info.path).name: info.n_bytes for info in file_infos(entries_below(str(tmp_path)))}
    assert infos == {"deep": 3, "top": 1}
    assert {entry.name for entry in entries_in(str(tmp_path))} == {"a", "top"}


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert entries_in(str(tmp_path / "nothing")) == []
    assert list(entries_below(str(tmp_path / "nothing"))) == []


def test_a_link_to_itself_is_listed_and_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert [entry.name for entry in entries_below(str(tmp_path))] == ["loop"]
    assert list(file_infos(entries_below(str(tmp_path)))) == []
    assert file_size(str(tmp_path / "loop")) == -1


def test_a_name_that_is_not_utf_8_is_reported_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")).write_bytes(b"{}")
    (tmp_path / "good.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert [entry.name for entry in entries_below(str(tmp_path))] == ["good.json"]
    assert "\\xff.json" in caplog.text


def test_only_regular_files_have_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12")
    assert [file_size(str(tmp_path / name)) for name in ("file", ".", "nothing", "file/below")] == [2, -1, -1, -1]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to(path)])
def test_what_is_not_a_regular_file_cannot_be_read_and_is_not_waited_for(
    tmp_path: Path, make: Callable[[str], None]
) -> None:
    path = str(tmp_path / "x")
    make(path)
    with pytest.raises(OSError, match="x") as raised:
        read_local(path)
    assert raised.value.errno in NOT_A_FILE
    with pytest.raises(OSError, match="x") as raised:
        create_local(path, b"x")
    assert raised.value.errno in NOT_A_FILE


def test_a_part_of_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    parts = [read_local(str(path)), read_local(str(path), 2, 3), read_local(str(path), 8, 5)]
    assert parts == [b"0123456789", b"234", b"89"]
    assert read_local(str(path), 20, 1) == b""
    path.write_bytes(b"")
    assert read_local(str(path)) == b""


def test_a_link_to_a_folder_above_it_is_not_followed(tmp_path: Path) -> None:
    store = tmp_path / "outer" / "store"
    (store / "runs").mkdir(parents=True)
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "mask").write_bytes(b"1")
    for name, target in {"up": store, "further": tmp_path, "root": Path("/"), "masks": tmp_path / "big"}.items():
        (store / "runs" / name).symlink_to(target)
    paths = {Path(entry.path).relative_to(store).as_posix() for entry in entries_below(str(store))}
    assert paths == {"runs/up", "runs/further", "runs/root", "runs/masks/mask"}


RECORD = made_up_record("masks")


@pytest.fixture
def quarantining(tmp_path: Path) -> Store:
    quarantining = Store(tmp_path, quarantine=True)
    quarantining.write_record(RECORD)
    return quarantining


def quarantined(quarantining: Store) -> list[str]:
    return sorted(path.name.rpartition(".")[0] for path in (Path(quarantining.uri) / "quarantine").iterdir())


def test_a_pipe_in_place_of_a_record_is_a_damaged_record(quarantining: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(quarantining.uri) / RECORD.path
    path.unlink()
    os.mkfifo(path)
    assert Store(quarantining.uri).read_record("masks", RECORD.id) is None
    assert RECORD.path in caplog.text
    assert path.exists()
    assert quarantining.read_record("masks", RECORD.id) is None
    assert not path.exists()
    assert quarantined(quarantining) == [RECORD.path.replace("/", "-")]


def test_a_pipe_or_a_folder_in_place_of_an_artefact_is_replaced(quarantining: Store) -> None:
    for make in (os.mkfifo, os.mkdir):
        artefact = quarantining.write_bytes("masks/x", b"x")
        (Path(quarantining.uri) / "masks" / "x").unlink()
        make(Path(quarantining.uri) / "masks" / "x")
        assert not quarantining.is_complete(made_up_record("masks", artefacts=[artefact]))
        assert quarantining.read_bytes(quarantining.write_bytes("masks/x", b"x")) == b"x"


def test_a_file_whose_name_is_not_utf_8_is_put_aside_once(
    quarantining: Store, caplog: pytest.LogCaptureFixture
) -> None:
    Path(os.fsdecode(os.fsencode(quarantining.uri) + b"/records/masks/\xff.json")).write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert quarantining.record_names() == [("masks", RECORD.id)]
    assert "\\xff.json" in caplog.text
    assert quarantined(quarantining) == ["records-masks-\\xff.json"]
    caplog.clear()
    assert quarantining.record_names() == [("masks", RECORD.id)]
    assert not caplog.text


def test_a_segment_that_cannot_be_read_is_put_aside_with_its_markers(quarantining: Store) -> None:
    compact(quarantining)
    (segment,) = quarantining.list("records/masks")
    quarantining.write_bytes(void_path(segment, RECORD.id), b"x")
    (Path(quarantining.uri) / segment).unlink()
    os.mkfifo(Path(quarantining.uri) / segment)
    assert Store(quarantining.uri).record_names() == []
    assert quarantining.list("records/masks")
    opened = Store(quarantining.uri, quarantine=True)
    assert opened.record_names() == []
    assert opened.list("records/masks") == []
    assert quarantined(quarantining) == [segment.replace("/", "-")]


def test_a_pipe_in_place_of_a_claim_is_put_aside(quarantining: Store) -> None:
    path = Path(quarantining.uri) / claim_path("masks", "x")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with Claims(quarantining, "a run") as claims:
        assert claims.take(("masks", "x"))
        assert path.is_file()
    assert quarantined(quarantining) == ["claims-masks-x.json"]
