"""Garbage of a store, and repair of damage that a command meets."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.store.claims import Claims
from mlprune.store.compaction import compact
from mlprune.store.garbage import find_garbage, remove_garbage
from mlprune.store.records import Artefact, Record
from mlprune.store.repair import copy_to_quarantine, quarantine_on_damage, remove_equal_copies, scrub
from mlprune.store.store import Store
from tests.ended_processes import ended_process, ended_tag
from tests.records import made_up_record
from tests.refusals import refused

DAY_S = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two records with an artefact each, and files of every kind that no record references; all of them old."""
    store = Store(tmp_path / "store")
    for name in ("a", "b"):
        artefact = store.write_bytes(f"predictions/{name}.parquet", b"wanted")
        store.write_record(made_up_record("evaluations", {"name": name}, artefacts=[artefact]))
    for path in ("predictions/lost.parquet", "masks/lost/block-000.parquet", "quarantine/records-variants-x.json.1"):
        store.write_bytes(path, b"unreferenced")
    store.write_bytes("predictions/half.parquet.writing-0123abcd", b"half")
    store.write_run_file("run-1", "run", {})
    age(store)
    return store


GARBAGE = {
    "predictions/lost.parquet",
    "masks/lost/block-000.parquet",
    "quarantine/records-variants-x.json.1",
    "predictions/half.parquet.writing-0123abcd",
}


def age(store: Store, days: float = 2.0) -> None:
    then = time.time() - days * DAY_S
    for path in files(store):
        os.utime(path, (then, then))


def files(store: Store) -> list[Path]:
    assert store.local_root is not None
    return [path for path in store.local_root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("is_compacted", [False, True])
def test_exactly_the_files_that_no_record_references_are_removed(store: Store, *, is_compacted: bool) -> None:
    if is_compacted:
        compact(store)
    before = {path.relative_to(store.local_root or Path()).as_posix() for path in files(store)}
    garbage = find_garbage(store)
    assert {file.path for file in garbage.files} == GARBAGE
    assert garbage.n_bytes == 3 * len(b"unreferenced") + len(b"half")
    assert remove_garbage(store, garbage) == len(GARBAGE)
    after = {path.relative_to(store.local_root or Path()).as_posix() for path in files(store)}
    assert after == before - GARBAGE
    assert all(store.is_intact(record) for record in store.records())
    assert find_garbage(store).files == ()


def test_a_quarantined_declaration_stays_until_a_record_is_in_its_place(store: Store) -> None:
    record = made_up_record("recipes", {"name": "study"})
    store.write_record(record)
    store.quarantine(record)
    age(store)
    assert {file.path for file in find_garbage(store).files} == GARBAGE
    store.write_record(record)
    assert len(find_garbage(store).files) == len(GARBAGE) + 1


def test_recent_files_may_belong_to_a_running_job(store: Store) -> None:
    store.write_bytes("predictions/young.parquet", b"young")
    garbage = find_garbage(store)
    assert [file.path for file in garbage.young] == ["predictions/young.parquet"]
    assert "predictions/young.parquet" not in {file.path for file in garbage.files}
    assert "predictions/young.parquet" in {file.path for file in find_garbage(store, min_age_s=0).files}


def test_nothing_is_removed_while_a_run_has_claims(store: Store) -> None:
    garbage = find_garbage(store)
    with Claims(store, "a run") as claims:
        claims.take(("variants", "x" * 20))
        with pytest.raises(StoreError):
            remove_garbage(store, garbage)
    assert remove_garbage(store, garbage) == len(GARBAGE)


def test_a_claim_of_a_dead_run_delays_nothing_and_is_garbage_itself(store: Store) -> None:
    store.write_bytes("claims/variants/x.json", b"{}")
    age(store)
    garbage = find_garbage(store)
    assert {file.path for file in garbage.files} == {*GARBAGE, "claims/variants/x.json"}
    assert remove_garbage(store, garbage) == len(GARBAGE) + 1


def test_a_file_that_a_record_references_by_now_stays(store: Store) -> None:
    garbage = find_garbage(store)
    artefact = store.write_bytes("predictions/lost.parquet", b"unreferenced")
    record = made_up_record("evaluations", artefacts=[artefact])
    store.write_record(record)
    assert remove_garbage(store, garbage) == len(GARBAGE) - 1
    assert store.is_intact(record)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_nothing_counts_as_garbage_while_a_record_cannot_be_read(store: Store, *, is_compacted: bool) -> None:
    if is_compacted:
        compact(store)
    path = next(path for path in files(store) if "records/evaluations" in path.as_posix())
    data = bytearray(path.read_bytes())
    data[40 if is_compacted else 0] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="cannot be read"):
        find_garbage(Store(store.uri))


def test_a_wrong_clock_removes_no_recent_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write_bytes("predictions/young.parquet", b"young")
    ahead = time.time() + 10 * DAY_S
    with monkeypatch.context() as patch:
        patch.setattr("mlprune.store.garbage.time.time", lambda: ahead)
        garbage = find_garbage(store)
        assert "predictions/young.parquet" in {file.path for file in garbage.files}
        assert remove_garbage(store, garbage) == len(GARBAGE)
    assert "predictions/young.parquet" in store.list("predictions")


def test_files_that_killed_commands_left_next_to_the_catalog_are_garbage(store: Store) -> None:
    left_overs = [
        "catalog.duckdb.rebuilding-0123abcd",
        "catalog.duckdb.writing-0123abcd",
        "catalog.duckdb.writing-0123abcd.wal",
    ]
    left_overs += ["catalog.duckdb.damaged-1", "catalog.duckdb.damaged-1.wal", "report.html.writing-0123abcd"]
    for path in (*left_overs, "catalog.duckdb", "notes.txt"):
        store.write_bytes(path, b"x")
    age(store)
    garbage = find_garbage(store)
    assert {file.path for file in garbage.files} == {*GARBAGE, *left_overs}
    remove_garbage(store, garbage)
    assert store.read_file("catalog.duckdb") == store.read_file("notes.txt") == b"x"


def test_a_killed_collection_does_not_count_as_a_run(store: Store) -> None:
    store.write_bytes("claims/clock/0123abcd", b"\n")
    garbage = find_garbage(store)
    assert remove_garbage(store, garbage) == len(GARBAGE)
    age(store)
    assert [file.path for file in find_garbage(store).files] == ["claims/clock/0123abcd"]


def test_what_ended_processes_of_this_machine_left_is_garbage_at_once_and_delays_nothing(store: Store) -> None:
    left_overs = [f"claims/clock/gc-{ended_tag()}-0a", f"masks/x.parquet.writing-{ended_tag()}-0a"]
    left_overs += ["claims/segments/variants.json", "claims/variants/x.json"]
    for path in left_overs[:2]:
        store.write_bytes(path, b"x")
    for path in left_overs[2:]:
        store.write_bytes(path, json.dumps({"process": ended_process()}).encode())
    garbage = find_garbage(store)
    assert {file.path for file in garbage.files} == {*GARBAGE, *left_overs}
    assert remove_garbage(store, garbage) == len(GARBAGE) + len(left_overs)


def test_the_next_user_of_claims_removes_those_of_ended_processes(store: Store) -> None:
    store.write_bytes("claims/segments/variants.json", json.dumps({"process": ended_process()}).encode())
    store.write_bytes("claims/variants/other.json", json.dumps({"process": "elsewhere/1/1"}).encode())
    store.write_bytes(f"claims/clock/gc-{ended_tag()}-0a", b"x")
    compact(store)
    assert store.list("claims") == ["claims/variants/other.json"]


@pytest.fixture
def quarantining(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", quarantine=True)


def write(quarantining: Store, kind: str, *artefacts: Artefact) -> Record:
    record = made_up_record(kind, artefacts=artefacts)
    quarantining.write_record(record)
    return record


def test_every_record_that_lists_a_damaged_artefact_is_quarantined(quarantining: Store) -> None:
    shared = quarantining.write_bytes("masks/shared.bin", b"12")
    block, masks = write(quarantining, "mask_blocks", shared), write(quarantining, "masks", shared)
    sound = write(quarantining, "evaluations", quarantining.write_bytes("predictions/sound.bin", b"3"))
    (Path(quarantining.uri) / shared.path).write_bytes(b"13")
    with refused(StoreError) as caught, quarantine_on_damage(quarantining):
        quarantining.read_bytes(shared)
    assert caught.value.context["path"] == shared.path
    assert "mlprune run" in caught.value.context["next"]
    assert [quarantining.read_record(record.kind, record.id) for record in (block, masks)] == [None, None]
    assert quarantining.read_record(sound.kind, sound.id) == sound


def test_a_damaged_record_is_one_line_too(quarantining: Store) -> None:
    record = write(quarantining, "variants")
    quarantining.write_bytes(record.path, b"{")
    with refused(StoreError, record=record.path), quarantine_on_damage(quarantining):
        quarantining.require(record.kind, record.id)
    assert not quarantining.has_record(record.kind, record.id)


def test_without_damage_nothing_happens(quarantining: Store) -> None:
    record = write(quarantining, "masks", quarantining.write_bytes("masks/a.bin", b"1"))
    with quarantine_on_damage(quarantining):
        assert quarantining.is_intact(record)
    assert quarantining.list("quarantine") == []


def test_a_scrub_quarantines_the_records_with_damage_that_keeps_the_size(quarantining: Store) -> None:
    damaged = write(quarantining, "masks", quarantining.write_bytes("masks/a.bin", b"1"))
    sound = write(quarantining, "evaluations", quarantining.write_bytes("predictions/b.bin", b"2"))
    (Path(quarantining.uri) / "masks/a.bin").write_bytes(b"3")
    keys = [(record.kind, record.id) for record in (damaged, sound)]
    assert scrub(quarantining, [*keys, ("masks", "missing")]) == 1
    assert quarantining.record_names() == keys[1:]
    assert scrub(quarantining, keys) == 0


def test_copies_of_records_that_were_made_again_are_removed_if_they_are_equal(tmp_path: Path) -> None:
    quarantining = Store(tmp_path / "store", quarantine=True)
    same, changed, gone = (made_up_record("masks", {"number": number}) for number in range(3))
    for record in (same, changed, gone):
        quarantining.write_record(record)
        copy_to_quarantine(quarantining, record)
    quarantining.write_record(replace(changed, rows={"orderings": [{"n_bytes": 1}]}))
    quarantining.delete(gone.path)
    assert remove_equal_copies(quarantining) == 1
    assert sorted(path.split("-")[2][:20] for path in quarantining.list("quarantine")) == sorted([changed.id, gone.id])
