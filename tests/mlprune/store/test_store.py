"""Stores: listing, reading, quarantine, artefacts and run files."""

import hashlib
import json
import logging
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import DamagedArtefactError, DamagedRecordError, EarlierVersionError, StoreError
from mlprune.store.artefacts import sha256_of
from mlprune.store.compaction import compact
from mlprune.store.records import Artefact, Record, record_path
from mlprune.store.store import Store, record_listing
from tests.earlier_versions import text_of_version_0_1
from tests.records import made_up_record
from tests.refusals import refused

PATHS = [
    "records/masks/a.json",
    "records/masks/b.json",
    "records/variants/a.json",
    "records/masks/segments/s.jsonl.zst",
    "records/masks/segments/s.c.void",
    "records/notes.txt",
    "records/masks/notes.txt",
    "records/masks/a/b.json",
]


def test_paths_are_sorted_by_kind_and_other_files_are_skipped() -> None:
    listing = record_listing(PATHS, kinds=["statistics"])
    assert listing.record_files == {"masks": {"a", "b"}, "variants": {"a"}}
    assert listing.segments == {"statistics": (), "masks": tuple(PATHS[3:5])}


@pytest.mark.parametrize(
    "change",
    [
        PATHS[1:],
        [*PATHS, "records/masks/c.json"],
        [*PATHS, "records/masks/segments/s.d.void"],
        ["records/masks/b.json", "records/variants/b.json", *PATHS[2:]],
    ],
)
def test_the_hash_changes_with_every_record_or_segment(change: list[str]) -> None:
    assert record_listing(change).sha256 != record_listing(PATHS).sha256


def test_the_hash_depends_neither_on_order_nor_on_empty_kinds_nor_on_other_files() -> None:
    reordered = record_listing([*reversed(PATHS[:5]), "records/other.txt"])
    assert reordered.sha256 == record_listing(PATHS).sha256


SCHEMA = {"name": "string", "n": "int64"}
COLUMNS = {"name": ["a", "b"], "n": [1, 2]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def record(*artefacts: Artefact, kind: str = "masks", sparsity: float = 0.5) -> Record:
    return made_up_record(kind, {"sparsity": sparsity}, artefacts=artefacts)


ID = record().id


def files_of(store: Store) -> list[str]:
    assert store.local_root is not None
    root = store.local_root
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def damage(store: Store, path: str) -> None:
    """Flip a bit of a file; its size stays."""
    assert store.local_root is not None
    file = store.local_root / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def test_opening_a_store_creates_nothing(tmp_path: Path) -> None:
    opened = Store(tmp_path / "none")
    assert opened.record_names() == []
    assert opened.list("records") == []
    assert not (tmp_path / "none").exists()


def test_a_file_or_an_unknown_scheme_is_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for uri in (tmp_path / "file", "nowhere://bucket/store"):
        with refused(StoreError):
            Store(uri)


def test_a_record_is_read_back_and_a_missing_one_is_none(store: Store) -> None:
    written = record(store.write_bytes("masks/a.bin", b"abc"))
    store.write_record(written)
    assert store.read_record("masks", ID) == written
    assert store.require("masks", ID) == written
    missing = record(sparsity=0.7).id
    assert store.read_record("masks", missing) is None
    with pytest.raises(StoreError):
        store.require("masks", missing)


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"3", b"[]", b"{}", b"\xff\xfe", b'{"artefacts": []}'])
def test_a_damaged_record_moves_to_quarantine(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path / "store", quarantine=True)
    store.write_bytes(record_path("masks", ID), content)
    with caplog.at_level(logging.WARNING):
        assert store.read_record("masks", ID) is None
    assert "quarantine" in caplog.text
    assert store.record_names() == []
    (moved,) = files_of(store)
    assert moved.startswith(f"quarantine/records-masks-{ID}.json.")
    assert (Path(store.uri) / moved).read_bytes() == content


def test_the_same_record_can_go_to_quarantine_twice(store: Store) -> None:
    for _ in range(2):
        store.write_record(record())
        store.quarantine(record())
    assert len(files_of(store)) == 2
    assert store.read_record("masks", ID) is None


def test_records_are_listed_in_order_and_damaged_ones_are_skipped(store: Store) -> None:
    written = [record(kind=kind, sparsity=sparsity) for kind in ("mask_blocks", "masks") for sparsity in (0.5, 0.7)]
    for sound in written:
        store.write_record(sound)
    store.write_bytes("records/variants/broken.json", b"{")
    store.write_bytes("records/masks/segments/one.jsonl.zst", b"")
    in_order = sorted(written, key=lambda one: (one.kind, one.id))
    assert store.record_names() == sorted([*((one.kind, one.id) for one in written), ("variants", "broken")])
    assert store.record_names("masks") == [(one.kind, one.id) for one in in_order if one.kind == "masks"]
    assert list(store.records()) == in_order
    assert store.has_record("variants", "broken")


def test_unfinished_files_are_never_listed(store: Store) -> None:
    store.write_record(record())
    store.write_bytes("records/masks/a2.json.writing-0123abcd", b"{")
    store.write_bytes("masks/x/block-000.parquet.writing-0123abcd", b"")
    assert store.list("") == [record_path("masks", ID)]
    assert store.record_names() == [("masks", ID)]
    assert store.list("masks") == []


def test_a_store_survives_pickling_and_a_change_of_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    first = Store("store")
    artefact = first.write_bytes("a.bin", b"abc")
    pickled = pickle.dumps(first)
    monkeypatch.chdir(tmp_path / "there")
    second = pickle.loads(pickled)
    assert second.read_bytes(artefact) == b"abc"
    assert Store(first.uri).read_bytes(artefact) == b"abc"
    assert second.local_root == tmp_path / "here" / "store"


def test_a_folder_given_as_a_uri_is_the_same_store(store: Store) -> None:
    store.write_record(record())
    by_uri = Store(Path(store.uri).as_uri())
    assert by_uri.record_names() == [("masks", ID)]
    assert by_uri.local_root == store.local_root


def test_a_store_behind_an_object_store_uri_works_the_same() -> None:
    remote = Store("mock:///bucket")
    for folder in ("records/masks", "runs/r", "masks", "quarantine"):
        remote._files.create_dir(f"{remote._root}/{folder}", recursive=True)
    assert remote.local_root is None
    written = record(remote.write_table("masks/a.parquet", COLUMNS, SCHEMA))
    remote.write_record(written)
    remote.write_run_file("r", "jobs", [1])
    assert remote.record_names() == [("masks", ID)]
    assert remote.list("") == ["masks/a.parquet", record_path("masks", ID), "runs/r/jobs.json"]
    found = remote.require("masks", ID)
    assert found == written
    assert remote.is_intact(found)
    assert remote.read_table(found.artefacts[0]) == COLUMNS
    remote.quarantine(found)
    assert remote.read_record("masks", ID) is None
    with pytest.raises(DamagedArtefactError, match="missing"):
        remote.read_bytes(Artefact("masks/none.parquet", 1, ""))


def test_a_record_file_is_readable_json(store: Store) -> None:
    store.write_record(record())
    text = (Path(store.uri) / record().path).read_text(encoding="utf-8")
    assert json.loads(text)["parameters"] == {"sparsity": 0.5}
    assert text.endswith("}\n")


def test_a_file_is_written_only_if_absent_and_removed_if_present(store: Store) -> None:
    assert store.read_file("claims/x/a.json") is None
    assert store.write_if_absent("claims/x/a.json", b"1")
    assert not store.write_if_absent("claims/x/a.json", b"2")
    assert store.read_file("claims/x/a.json") == b"1"
    for _ in range(2):
        store.delete("claims/x/a.json")
        assert store.read_file("claims/x/a.json") is None


def test_the_existence_of_a_record_is_known_without_reading_it(store: Store) -> None:
    assert not store.has_record("masks", ID)
    store.write_bytes(record_path("masks", ID), b"{")
    assert store.has_record("masks", ID)


def test_quarantine_of_a_record_that_is_gone_does_nothing(store: Store) -> None:
    store.quarantine(record())
    assert files_of(store) == []


def test_a_second_writer_of_the_same_bytes_does_not_disturb_readers(store: Store) -> None:
    written = record(store.write_bytes("masks/a.bin", b"abc" * 10_000))
    store.write_record(written)
    stop = threading.Event()

    def write_again() -> None:
        while not stop.is_set():
            store.write_bytes("masks/a.bin", b"abc" * 10_000)
            store.write_record(written)

    writer = threading.Thread(target=write_again)
    writer.start()
    try:
        for _ in range(200):
            assert store.require("masks", ID) == written
            assert store.is_intact(written)
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("is_compacted", [False, True])
def test_only_a_store_that_quarantines_moves_a_damaged_record(
    store: Store, caplog: pytest.LogCaptureFixture, *, is_compacted: bool
) -> None:
    store.write_record(record())
    if is_compacted:
        compact(store)
    path = Path(store.uri) / next(path for path in store.list("records"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    before = store.list("")
    answering, running = Store(store.uri), Store(store.uri, quarantine=True)
    for _ in range(2):
        assert answering.read_record("masks", ID) is None
        assert answering.read_records([("masks", ID)]) == {}
        assert list(answering.each_record({"masks": {ID}})) == list(answering.records()) == []
        with pytest.raises(DamagedRecordError):
            answering.require("masks", ID)
        with pytest.raises(DamagedRecordError):
            answering.peek_record("masks", ID)
    assert store.list("") == before
    assert caplog.text.count(ID) == 1
    assert answering.has_record("masks", ID)
    assert list(running.records()) == []
    assert not running.has_record("masks", ID)
    assert not pickle.loads(pickle.dumps(answering)).quarantines
    assert pickle.loads(pickle.dumps(running)).quarantines


def test_a_store_with_one_record_of_version_0_1_is_refused_and_nothing_is_moved(store: Store) -> None:
    old, new = record(sparsity=0.7), [record(sparsity=one / 100) for one in range(10)]
    for one in new:
        store.write_record(one)
    store.write_bytes(old.path, text_of_version_0_1(old))
    store.write_bytes(record_path("variants", ID), b"{")
    before = store.list("")
    for opened in (Store(store.uri), Store(store.uri, quarantine=True)):
        for read in (lambda: list(opened.records()), lambda: opened.peek_record("masks", old.id)):  # noqa: B023
            with refused(EarlierVersionError, record=old.path):
                read()
        assert opened.read_record("masks", new[0].id) == new[0]
    with refused(EarlierVersionError, store=store.uri):
        Store(store.uri, quarantine=True).require_records()
    assert store.list("") == before


def test_a_store_of_version_0_1_is_refused_before_its_records_are_read(store: Store) -> None:
    store.write_bytes(record().path, text_of_version_0_1(record()))
    with refused(EarlierVersionError, store=store.uri):
        store.require_records()


def test_a_record_whose_id_does_not_follow_from_its_inputs_is_not_written(store: Store) -> None:
    with pytest.raises(DamagedRecordError):
        store.write_record(replace(record(), id="0" * 20))
    assert store.list("") == []


@pytest.mark.parametrize("uri", ["", " "])
def test_a_store_without_name_is_refused(uri: str) -> None:
    with refused(StoreError, expected="a folder or an object-store URI"):
        Store(uri)


def test_an_artefact_has_the_path_size_rows_and_hash_of_its_file(store: Store) -> None:
    artefact = store.write_bytes("masks/x/y.bin", b"abc", n_rows=7)
    assert artefact == Artefact("masks/x/y.bin", 3, hashlib.sha256(b"abc").hexdigest(), 7)
    assert store.read_bytes(artefact) == b"abc"
    assert sha256_of(b"abc") == artefact.sha256


def test_a_table_is_read_back_and_equal_columns_give_equal_bytes(store: Store) -> None:
    first = store.write_table("a.parquet", COLUMNS, SCHEMA)
    second = store.write_table("b.parquet", COLUMNS, SCHEMA)
    assert (first.n_rows, first.sha256) == (2, second.sha256)
    assert store.read_table(first) == COLUMNS


def test_some_columns_of_a_table_are_read_and_the_whole_file_is_checked(store: Store) -> None:
    artefact = store.write_table("a.parquet", COLUMNS, SCHEMA)
    assert store.read_table(artefact, columns=("n",)) == {"n": [1, 2]}
    damage(store, "a.parquet")
    with pytest.raises(DamagedArtefactError, match="damaged"):
        store.read_table(artefact, columns=("n",))


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_part_of_the_new(
    store: Store, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store.write_bytes("a.bin", b"old")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync" if failing == "fsync" else "pathlib.Path.replace", fail)
    for path in ("a.bin", "new/b.bin"):
        with pytest.raises(OSError, match="no space"):
            store.write_bytes(path, b"new content")
    monkeypatch.undo()
    assert files_of(store) == ["a.bin"]
    assert (Path(store.uri) / "a.bin").read_bytes() == b"old"


def test_a_file_is_flushed_before_it_gets_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import os  # noqa: PLC0415 - what is watched here

    flushed: list[list[str]] = []
    real = os.fsync
    monkeypatch.setattr("os.fsync", lambda number: (flushed.append(files_of(store)), real(number)))
    store.write_bytes("a.bin", b"abc")
    assert len(flushed) == 2
    assert flushed[0][0].startswith("a.bin.writing-")
    assert flushed[1] == ["a.bin"]


def test_readers_detect_a_damaged_or_missing_artefact(store: Store) -> None:
    artefact = store.write_table("a.parquet", COLUMNS, SCHEMA)
    damage(store, "a.parquet")
    with refused(DamagedArtefactError, path="a.parquet", expected=artefact.sha256):
        store.read_table(artefact)
    (Path(store.uri) / "a.parquet").unlink()
    with pytest.raises(DamagedArtefactError, match="missing"):
        store.read_bytes(artefact)


def test_completeness_depends_on_sizes_and_intactness_on_bytes(store: Store) -> None:
    written = record(store.write_bytes("masks/a.bin", b"abc"), store.write_bytes("masks/b.bin", b""))
    assert store.is_complete(written)
    assert store.is_intact(written)
    damage(store, "masks/a.bin")
    assert store.is_complete(written)
    assert not store.is_intact(written)
    (Path(store.uri) / "masks/a.bin").write_bytes(b"abcd")
    assert not store.is_complete(written)
    (Path(store.uri) / "masks/a.bin").unlink()
    assert not store.is_complete(written)
    assert not store.is_intact(written)
    assert store.is_complete(record())


def test_run_files_are_json_and_never_records(store: Store) -> None:
    store.write_run_file("run1", "jobs-0", {"elapsed_s": 1.5})
    assert store.list("runs") == ["runs/run1/jobs-0.json"]
    assert store.read_json("runs/run1/jobs-0.json") == {"elapsed_s": 1.5}
    assert store.record_names() == []
