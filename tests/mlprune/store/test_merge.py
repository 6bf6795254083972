"""Merging two stores: everything of both, verified, and nothing twice."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import StoreError
from mlprune.store.artefacts import sha256_of
from mlprune.store.compaction import compact
from mlprune.store.merge import Merge, merge
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.records import made_up_record, record_text


def add(store: Store, number: int, kind: str = "evaluations") -> Record:
    artefact = store.write_bytes(f"predictions/{kind}-{number}.parquet", f"bytes {number}".encode())
    record = made_up_record(kind, {"number": number}, artefacts=[artefact])
    store.write_record(record)
    return record


@pytest.fixture
def ours(tmp_path: Path) -> Store:
    store = Store(tmp_path / "ours")
    for number in (0, 1):
        add(store, number)
    return store


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    store = Store(tmp_path / "theirs")
    for number in (1, 2, 3):
        add(store, number)
    store.write_run_file("run-2", "job-0", {"job_id": "a"})
    return store


def root(store: Store) -> Path:
    assert store.local_root is not None
    return store.local_root


def test_everything_of_both_stores_is_in_one(ours: Store, theirs: Store) -> None:
    expected = sorted({*ours.record_names(), *theirs.record_names()})
    assert merge(theirs, ours) == Merge(n_records=2, n_files=3, n_known=1, refused=())
    assert ours.record_names() == expected
    assert all(ours.is_intact(record) for record in ours.records())
    assert ours.read_json("runs/run-2/job-0.json") == {"job_id": "a"}
    assert merge(theirs, ours) == Merge(n_records=0, n_files=0, n_known=3, refused=())


def test_compacted_records_come_too(ours: Store, theirs: Store) -> None:
    compact(theirs)
    compact(ours)
    assert merge(theirs, ours).n_records == 2
    assert len(ours.record_names()) == 4


def test_what_is_damaged_there_is_not_taken(ours: Store, theirs: Store, caplog: pytest.LogCaptureFixture) -> None:
    bad = next(record for record in theirs.records() if record.parameters["number"] == 2)
    (root(theirs) / bad.artefacts[0].path).write_bytes(b"other bytes")
    done = merge(theirs, ours)
    assert (done.n_records, done.refused) == (1, (bad.path,))
    assert not ours.has_record(bad.kind, bad.id)
    assert theirs.has_record(bad.kind, bad.id)
    assert f"{bad.path} is not taken" in caplog.text


def test_a_record_here_whose_artefact_is_lost_gets_it_back(ours: Store, theirs: Store) -> None:
    shared = next(record for record in ours.records() if record.parameters["number"] == 1)
    (root(ours) / shared.artefacts[0].path).unlink()
    merge(theirs, ours)
    assert ours.is_intact(shared)


def test_a_merge_that_broke_off_is_finished_by_the_next(
    ours: Store, theirs: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = Store.write_record, [1]

    def breaking(store: Store, record: Record) -> None:
        if not left[0]:
            raise OSError("no space left on device")
        left[0] -= 1
        write(store, record)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_record", breaking)
        with pytest.raises(OSError, match="no space"):
            merge(theirs, ours)
    merge(theirs, ours)
    assert len(ours.record_names()) == 4
    assert all(ours.is_intact(record) for record in ours.records())


def test_a_store_is_not_merged_into_itself(ours: Store) -> None:
    with pytest.raises(StoreError, match="itself"):
        merge(Store(ours.uri), ours)


def test_bytes_that_another_machine_computed_do_not_replace_ours(
    ours: Store, theirs: Store, caplog: pytest.LogCaptureFixture
) -> None:
    shared = next(record for record in theirs.records() if record.parameters["number"] == 1)
    artefact = theirs.write_bytes(shared.artefacts[0].path, b"almost bytes 1")
    theirs.write_record(made_up_record(shared.kind, shared.parameters, artefacts=[artefact]))
    with caplog.at_level(logging.WARNING):
        merge(theirs, ours)
    kept = ours.read_record(shared.kind, shared.id)
    assert kept is not None
    assert ours.read_bytes(kept.artefacts[0]) == b"bytes 1"


def test_a_record_of_theirs_that_names_other_bytes_under_a_path_of_ours_is_refused(ours: Store, theirs: Store) -> None:
    shared = next(record for record in ours.records() if record.parameters["number"] == 1)
    artefact = theirs.write_bytes(shared.artefacts[0].path, b"almost bytes 1")
    other = made_up_record("masks", artefacts=[artefact])
    theirs.write_record(other)
    assert merge(theirs, ours).refused == (other.path,)
    assert ours.is_intact(shared)


@pytest.mark.parametrize(
    "change",
    [
        {"artefacts": [{"path": "masks/../../../evil.sh", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"artefacts": [{"path": "records/masks/x.json", "n_bytes": 4, "sha256": sha256_of(b"evil"), "n_rows": None}]},
        {"kind": "../../../", "id": "PWN2"},
        {"id": "../../../PWN2"},
    ],
)
def test_a_merge_writes_nothing_outside_the_folders_of_artefacts(tmp_path: Path, change: dict[str, Any]) -> None:
    source, target = Store(tmp_path / "source"), Store(tmp_path / "a" / "b" / "target")
    record = add(source, 1)
    (root(source) / record.path).write_bytes(record_text({**json.loads(record.to_json()), **change}))
    for path in (root(source) / "../../evil.sh", root(source) / "records/masks/x.json"):
        path.resolve().parent.mkdir(parents=True, exist_ok=True)
        path.resolve().write_bytes(b"evil")
    before = sorted(tmp_path.rglob("*"))
    done = merge(source, target)
    assert record.path in done.refused
    assert done.n_records == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_merge_moves_nothing_in_the_store_it_reads(ours: Store, theirs: Store) -> None:
    bad = next(theirs.records())
    theirs.write_bytes(bad.path, b"{")
    before = theirs.list("")
    assert bad.path in merge(Store(theirs.uri), ours).refused or ours.has_record(bad.kind, bad.id)
    assert theirs.list("") == before
