"""A store: unreachable, empty, sound, damaged, with leftovers, and with retired files."""

import os
import time
from pathlib import Path

import pytest

from mlprune.store.retired import group_of, write_marker
from mlprune.store.store import Store
from ray_jobs.doctor import store as examined
from ray_jobs.doctor.findings import Finding, Level
from ray_jobs.doctor.store import examine_store
from tests.records import made_up_record


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A sound store of one record, without a catalog."""
    monkeypatch.setattr(examined, "LEAST_FREE_BYTES", 0)
    store = Store(tmp_path / "store")
    artefact = store.write_bytes("masks/a/block-000.parquet", b"12345")
    store.write_record(made_up_record("masks", artefacts=[artefact], step_version=3))
    return store


def problems(store: Store) -> list[Finding]:
    return [finding for finding in examine_store(store.uri) if finding.level is not Level.OK]


def test_a_sound_store_and_one_that_does_not_exist_yet_are_fine(store: Store, tmp_path: Path) -> None:
    assert problems(store) == []
    assert problems(Store(tmp_path / "new")) == []
    assert not (tmp_path / "new").exists()


def test_a_store_that_cannot_be_opened_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (finding,) = examine_store(str(tmp_path / "file"))
    assert finding.level is Level.MISSING


def test_a_missing_file_is_named_unless_it_was_retired(store: Store) -> None:
    path = "masks/a/block-000.parquet"
    store.delete(path)
    (finding,) = problems(store)
    assert (finding.level, path in finding.text, "--repair" in finding.help) == (Level.MISSING, True, True)
    write_marker(store, group_of(path), retired_at="", reason="")
    assert problems(store) == []
    assert any("--remake" in finding.text for finding in examine_store(store.uri))


def test_the_damaged_file_of_a_record_is_named_and_not_the_retired_one(store: Store) -> None:
    artefacts = [store.write_bytes(f"{folder}/b/block-000.safetensors", b"12345") for folder in ("masks", "weights")]
    store.write_record(made_up_record("masks", {"n": 2}, artefacts=artefacts, step_version=3))
    for artefact in artefacts:
        store.delete(artefact.path)
    write_marker(store, group_of(artefacts[0].path), retired_at="", reason="")
    (finding,) = problems(store)
    assert (finding.level, artefacts[1].path in finding.text) == (Level.MISSING, True)


def test_a_damaged_record_is_named(store: Store) -> None:
    (key,) = store.record_names()
    store.write(f"records/{key[0]}/{key[1]}.json", b"{}")
    assert key[1] in problems(store)[0].text


def test_records_of_earlier_versions_and_leftovers_are_warnings(store: Store) -> None:
    store.write_record(made_up_record("comparisons", step_version=1))
    store.write("predictions/lost.parquet", b"lost")
    assert store.local_root is not None
    old = time.time() - 10 * 86400
    os.utime(store.local_root / "predictions/lost.parquet", (old, old))
    assert [finding.level for finding in problems(store)] == [Level.WARNING] * 2
    assert [finding.help.split()[1] for finding in problems(store)] == ["run", "gc"]


def test_little_space_is_a_warning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined, "LEAST_FREE_BYTES", 2**70)
    assert [finding.help.split()[1] for finding in problems(store)] == ["gc"]


def test_a_catalog_is_compared_with_the_records(store: Store) -> None:
    assert store.local_root is not None
    (store.local_root / "catalog.duckdb").write_bytes(b"not a catalog")
    (finding,) = problems(store)
    assert "rebuild" in finding.help
