"""Repair: damage that a command meets quarantines the records concerned and names the next step."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.store.records import Artefact, Record
from mlprune.store.repair import copy_to_quarantine, quarantine_on_damage, remove_equal_copies, scrub
from mlprune.store.store import Store
from tests.records import made_up_record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", quarantine=True)


def write(store: Store, kind: str, *artefacts: Artefact) -> Record:
    record = made_up_record(kind, artefacts=artefacts)
    store.write_record(record)
    return record


def test_every_record_that_lists_a_damaged_artefact_is_quarantined(store: Store) -> None:
    shared = store.write_bytes("masks/shared.bin", b"12")
    block, masks = write(store, "mask_blocks", shared), write(store, "masks", shared)
    sound = write(store, "evaluations", store.write_bytes("predictions/sound.bin", b"3"))
    (Path(store.uri) / shared.path).write_bytes(b"13")
    with pytest.raises(StoreError) as caught, quarantine_on_damage(store):
        store.read_bytes(shared)
    assert caught.value.context["path"] == shared.path
    assert "mlprune run" in caught.value.context["next"]
    assert "\n" not in str(caught.value)
    assert [store.read_record(record.kind, record.id) for record in (block, masks)] == [None, None]
    assert store.read_record(sound.kind, sound.id) == sound


def test_a_damaged_record_is_one_line_too(store: Store) -> None:
    record = write(store, "variants")
    store.write_bytes(record.path, b"{")
    with pytest.raises(StoreError) as caught, quarantine_on_damage(store):
        store.require(record.kind, record.id)
    assert caught.value.context["record"] == record.path
    assert not store.has_record(record.kind, record.id)


def test_without_damage_nothing_happens(store: Store) -> None:
    record = write(store, "masks", store.write_bytes("masks/a.bin", b"1"))
    with quarantine_on_damage(store):
        assert store.is_intact(record)
    assert store.list("quarantine") == []


def test_a_scrub_quarantines_the_records_with_damage_that_keeps_the_size(store: Store) -> None:
    damaged = write(store, "masks", store.write_bytes("masks/a.bin", b"1"))
    sound = write(store, "evaluations", store.write_bytes("predictions/b.bin", b"2"))
    (Path(store.uri) / "masks/a.bin").write_bytes(b"3")
    keys = [(record.kind, record.id) for record in (damaged, sound)]
    assert scrub(store, [*keys, ("masks", "missing")]) == 1
    assert store.record_names() == keys[1:]
    assert scrub(store, keys) == 0


def test_copies_of_records_that_were_made_again_are_removed_if_they_are_equal(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", quarantine=True)
    same, changed, gone = (made_up_record("masks", {"number": number}) for number in range(3))
    for record in (same, changed, gone):
        store.write_record(record)
        copy_to_quarantine(store, record)
    store.write_record(replace(changed, rows={"orderings": [{"n_bytes": 1}]}))
    store.delete(gone.path)
    assert remove_equal_copies(store) == 1
    assert sorted(path.split("-")[2][:20] for path in store.list("quarantine")) == sorted([changed.id, gone.id])
