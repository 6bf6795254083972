"""Artefacts and run files: written whole, checked when they are read."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import DamagedArtefactError
from mlprune.store.artefacts import sha256_of
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store
from tests.records import made_up_record

SCHEMA = {"name": "string", "n": "int64"}
COLUMNS = {"name": ["a", "b"], "n": [1, 2]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def record(*artefacts: Artefact, kind: str = "variants", sparsity: float = 0.5) -> Record:
    return made_up_record(kind, {"sparsity": sparsity}, artefacts=artefacts)


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
    with pytest.raises(DamagedArtefactError) as caught:
        store.read_table(artefact)
    assert (caught.value.context["path"], caught.value.context["expected"]) == ("a.parquet", artefact.sha256)
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
