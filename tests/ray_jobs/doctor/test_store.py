"""Findings about stores and recipes."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml

from catalog.store import Catalog
from mlprune.errors import BadInputError
from mlprune.store.garbage import CLAIM_ALIVE_S
from mlprune.store.retired import group_of, write_marker
from mlprune.store.store import Store
from ray_jobs.doctor import store as examined
from ray_jobs.doctor.findings import Finding, Level
from ray_jobs.doctor.store import examine_recipe, examine_store
from tests.ended_processes import ended_process
from tests.records import made_up_record
from tests.tiny_recipes import FinishedRun


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
    assert [finding.help.split()[1] for finding in problems(store)] == ["run", "store"]


def test_little_space_is_a_warning(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined, "LEAST_FREE_BYTES", 2**70)
    assert [finding.help.split()[1] for finding in problems(store)] == ["store"]


def test_a_catalog_is_compared_with_the_records(store: Store) -> None:
    assert store.local_root is not None
    (store.local_root / "catalog.duckdb").write_bytes(b"not a catalog")
    (finding,) = problems(store)
    assert "rebuild" in finding.help


def fold(store: Store) -> None:
    with Catalog.open(store) as catalog:
        catalog.fold()


@pytest.mark.thorough("starts runs or workers of its own")
def test_a_deleted_record_is_not_called_one_that_the_catalog_lacks(store: Store) -> None:
    for number in (1, 2, 3):
        store.write_record(made_up_record("mask_overlaps", {"n": number}))
    fold(store)
    store.delete(made_up_record("mask_overlaps", {"n": 2}).path)
    (finding,) = problems(store)
    assert (finding.level, "no longer in the store" in finding.text) == (Level.WARNING, True)
    store.write_record(made_up_record("mask_overlaps", {"n": 2}))
    store.write_record(made_up_record("mask_overlaps", {"n": 4}))
    (finding,) = problems(store)
    assert "lacks 1 record" in finding.text


def claim(store: Store, name: str, *, age_s: float, process: str = "") -> None:
    path = f"claims/evaluations/{name}.json"
    store.write(path, json.dumps({"owner": "a run", "process": process}).encode())
    then = time.time() - age_s
    assert store.local_root is not None
    os.utime(store.local_root / path, (then, then))


def test_claims_of_runs_that_have_ended_are_a_warning_and_others_are_named(store: Store) -> None:
    claim(store, "alive", age_s=10)
    assert problems(store) == []
    assert any("in use" in one.text for one in examine_store(store.uri))
    claim(store, "stale", age_s=2 * CLAIM_ALIVE_S)
    found = problems(store)
    assert found[0].level is Level.WARNING
    assert "claims/evaluations/stale.json" in found[0].text


def test_a_claim_of_an_ended_process_of_this_machine_is_stale_at_once(store: Store) -> None:
    claim(store, "ended", age_s=0, process=ended_process())
    assert any("claims/evaluations/ended.json" in one.text for one in problems(store))


@pytest.mark.parametrize("kind", ["record", "other file"])
def test_files_in_quarantine_are_a_warning(store: Store, kind: str) -> None:
    if kind == "record":
        store.quarantine(next(store.records()))
        store.write_record(made_up_record("mask_overlaps"))
    else:
        store.write("quarantine/catalog.duckdb.0a1b2c3d", b"damaged")
    assert any("1 file in quarantine" in one.text for one in problems(store) if one.level is Level.WARNING)


def test_a_fresh_file_that_no_record_references_is_a_note(store: Store) -> None:
    store.write("predictions/fresh.parquet", b"fresh")
    assert problems(store) == []
    assert any("1 file of the last 24 hours" in one.text for one in examine_store(store.uri))


def test_damage_that_keeps_the_size_is_left_to_the_check_which_is_named(store: Store) -> None:
    store.write("masks/a/block-000.parquet", b"54321")
    assert problems(store) == []
    assert any("check store --deep" in one.text for one in examine_store(store.uri))


def changed(small_run: FinishedRun, name: str, **changes: object) -> Path:
    recipe = {**yaml.safe_load(small_run.recipe_path.read_text()), **changes}
    path = small_run.recipe_path.with_name(f"doctor-{name}.yaml")
    path.write_text(yaml.safe_dump(recipe))
    return path


def findings(path: Path, store: Path) -> list[Finding]:
    return examine_recipe(path, store_uri=str(store), address="none")


def last(path: Path, store: Path) -> tuple[Level, str]:
    finding = findings(path, store)[-1]
    return finding.level, finding.text


def test_a_recipe_that_can_run_has_its_jobs_memory_and_disk(small_run: FinishedRun, tmp_path: Path) -> None:
    found = findings(small_run.recipe_path, tmp_path / "store")
    assert all(finding.level is Level.OK for finding in found)
    assert any(finding.text.startswith("memory: ") for finding in found)
    assert not (tmp_path / "store").exists()


def test_a_finished_recipe_needs_nothing(small_run: FinishedRun) -> None:
    assert "nothing to do" in findings(small_run.recipe_path, Path(small_run.store.uri))[-1].text


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("key", {"variantes": []}),
        ("model", {"model": {"path": "no-such-model"}}),
        ("corpus", {"corpus": {"kind": "parallel_text", "path": "no-such-corpus"}}),
        ("plugin", {"plugins": ["no-such-plugin.py"]}),
    ],
)
def test_what_a_recipe_lacks_is_named_with_the_help(
    small_run: FinishedRun, tmp_path: Path, name: str, changes: dict[str, object]
) -> None:
    finding = findings(changed(small_run, name, **changes), tmp_path / "store")[-1]
    assert finding.level is Level.MISSING
    assert finding.help


def test_a_model_to_import_is_a_warning_with_the_option(small_run: FinishedRun, tmp_path: Path) -> None:
    path = changed(small_run, "import", model={"path": "model", "import": True})
    level, text = last(path, tmp_path / "store")
    assert (level, "import" in text) == (Level.WARNING, True)


def test_too_little_memory_and_disk_are_missing(
    small_run: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise BadInputError("not enough", expected="more")

    monkeypatch.setattr(examined, "require_room", refuse)
    path = changed(small_run, "memory", compute={"batch_tokens": 128, "memory_gib_per_actor": 0.01})
    found = [finding.level for finding in findings(path, tmp_path / "store")]
    assert found.count(Level.MISSING) == 2
