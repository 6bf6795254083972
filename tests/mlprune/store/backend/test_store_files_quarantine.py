"""Quarantine: what is damaged, or in the place of a file, is named and put aside once."""

import logging
import os
from pathlib import Path

import pytest

from mlprune.store.claims import Claims, claim_path
from mlprune.store.compaction import compact
from mlprune.store.segments import void_path
from mlprune.store.store import Store
from tests.records import made_up_record

RECORD = made_up_record("masks")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path, quarantine=True)
    store.write_record(RECORD)
    return store


def quarantined(store: Store) -> list[str]:
    return sorted(path.name.rpartition(".")[0] for path in (Path(store.uri) / "quarantine").iterdir())


def test_a_pipe_in_place_of_a_record_is_a_damaged_record(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    path = Path(store.uri) / RECORD.path
    path.unlink()
    os.mkfifo(path)
    assert Store(store.uri).read_record("masks", RECORD.id) is None
    assert RECORD.path in caplog.text
    assert path.exists()
    assert store.read_record("masks", RECORD.id) is None
    assert not path.exists()
    assert quarantined(store) == [RECORD.path.replace("/", "-")]


def test_a_pipe_or_a_folder_in_place_of_an_artefact_is_replaced(store: Store) -> None:
    for make in (os.mkfifo, os.mkdir):
        artefact = store.write_bytes("masks/x", b"x")
        (Path(store.uri) / "masks" / "x").unlink()
        make(Path(store.uri) / "masks" / "x")
        assert not store.is_complete(made_up_record("masks", artefacts=[artefact]))
        assert store.read_bytes(store.write_bytes("masks/x", b"x")) == b"x"


def test_a_file_whose_name_is_not_utf_8_is_put_aside_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    Path(os.fsdecode(os.fsencode(store.uri) + b"/records/masks/\xff.json")).write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert store.record_names() == [("masks", RECORD.id)]
    assert "\\xff.json" in caplog.text
    assert quarantined(store) == ["records-masks-\\xff.json"]
    caplog.clear()
    assert store.record_names() == [("masks", RECORD.id)]
    assert not caplog.text


def test_a_segment_that_cannot_be_read_is_put_aside_with_its_markers(store: Store) -> None:
    compact(store)
    (segment,) = store.list("records/masks")
    store.write_bytes(void_path(segment, RECORD.id), b"x")
    (Path(store.uri) / segment).unlink()
    os.mkfifo(Path(store.uri) / segment)
    assert Store(store.uri).record_names() == []
    assert store.list("records/masks")
    opened = Store(store.uri, quarantine=True)
    assert opened.record_names() == []
    assert opened.list("records/masks") == []
    assert quarantined(store) == [segment.replace("/", "-")]


def test_a_pipe_in_place_of_a_claim_is_put_aside(store: Store) -> None:
    path = Path(store.uri) / claim_path("masks", "x")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with Claims(store, "a run") as claims:
        assert claims.take(("masks", "x"))
        assert path.is_file()
    assert quarantined(store) == ["claims-masks-x.json"]
