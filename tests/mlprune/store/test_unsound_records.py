"""Records that are damaged or in quarantine, as far as they can be read."""

from pathlib import Path

import pytest

from mlprune.store.compaction import compact
from mlprune.store.records import Record
from mlprune.store.store import Store
from mlprune.store.unsound_records import unsound_records
from tests.records import made_up_record

STUDY = made_up_record("recipes", {"name": "study"}, rows={"names": [{"recipe": "study"}]})
SOUND = made_up_record("recipes", {"name": "sound"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    for record in (STUDY, SOUND):
        store.write_record(record)
    return store


def change(store: Store, record: Record, old: str, new: str) -> None:
    path = Path(store.uri) / record.path
    path.write_text(path.read_text().replace(old, new))


def found(store: Store, *sound: str) -> list[tuple[str, object]]:
    return [(one.id, one.values("parameters").get("name")) for one in unsound_records(store, "recipes", sound=sound)]


def test_sound_records_are_skipped_and_edited_ones_are_read_as_they_are(store: Store) -> None:
    assert found(store, STUDY.id, SOUND.id) == []
    change(store, STUDY, "study", "other")
    assert found(store, SOUND.id) == [(STUDY.id, "other")]
    (record,) = unsound_records(store, "recipes", sound={SOUND.id})
    assert (record.rows("names"), record.rows("questions")) == ([{"recipe": "other"}], [])


def test_a_record_in_quarantine_is_found_until_a_sound_one_is_in_its_place(store: Store) -> None:
    store.quarantine(STUDY)
    assert found(store, SOUND.id) == [(STUDY.id, "study")]
    store.write_record(STUDY)
    assert found(store, SOUND.id, STUDY.id) == []


def test_a_record_of_a_segment_is_found_in_quarantine(store: Store) -> None:
    compact(store)
    store.quarantine(STUDY)
    assert found(store, SOUND.id) == [(STUDY.id, "study")]


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"rows": 3, "parameters": []}', '{"rows": {"names": [1]}}'])
def test_what_is_no_record_has_no_values(store: Store, text: str) -> None:
    (Path(store.uri) / STUDY.path).write_text(text)
    (record,) = unsound_records(store, "recipes", sound={SOUND.id})
    assert (record.id, record.values("parameters"), record.rows("names")) == (STUDY.id, {}, [])
