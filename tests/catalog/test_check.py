import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.check import check, marked_contradictions
from catalog.store import Catalog
from mlprune.store.compaction import compact
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.catalog_data import SPARSITIES, fill_store
from tests.records import made_up_record, record_text


def first(store: Store, kind: str) -> Record:
    return next(store.records(kind))


def edit(store: Store, record: Record, **changes: Any) -> None:
    """Change fields of a record's file, and its checksum with them."""
    path = root(store) / record.path
    path.write_bytes(record_text({**json.loads(path.read_text()), **changes}))


def root(store: Store) -> Path:
    assert store.local_root is not None
    return store.local_root


def test_a_sound_store_has_no_damage_and_no_notes(small_filled: Store) -> None:
    assert check(small_filled) == ([], [])


def write_job(store: Store, number: int, **environment: str) -> None:
    """Write the run files of a job that was done in an environment of its own."""
    environment_id = f"e{number}"
    described = {"environment_id": environment_id, "packages": {}, **environment}
    store.write_run_file("run-2", f"environment-{environment_id}", described)
    job = {"job_id": f"job-{number}", "step": "prune", "status": "done", "attempt": 1}
    store.write_run_file("run-2", f"job-{number}", {**job, "environment_id": environment_id})


@pytest.mark.thorough("checks many damaged copies of a store")
def test_results_of_several_kinds_of_processor_are_a_note_and_no_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, python in enumerate(("CPython 3.11.7", "CPython 3.12.1")):
        write_job(store, number, python=python, processor="AMD EPYC", instructions="AVX512")
    write_job(store, 2, processor="Intel Xeon", instructions="AVX2")
    damages, (note,) = check(store)
    assert damages == []
    assert "AMD EPYC with AVX512: 2 jobs; Intel Xeon with AVX2: 1 job" in note


@pytest.mark.thorough("checks many damaged copies of a store")
def test_the_artificial_store_is_the_same_at_every_call(small_filled: Store, tmp_path: Path) -> None:
    other = Store(tmp_path)
    fill_store(other, sparsities=SPARSITIES[:1])
    assert other.record_names() == small_filled.record_names()


@pytest.mark.thorough("checks many damaged copies of a store")
def test_everything_that_can_be_wrong_with_files_keys_and_views_is_found_where_it_is(store: Store) -> None:
    *intact, listing = list(store.records("evaluations"))[:4]
    flipped, missing, resized = (record.artefacts[0] for record in intact)
    data = bytearray((root(store) / flipped.path).read_bytes())
    data[10] ^= 1
    (root(store) / flipped.path).write_bytes(data)
    (root(store) / missing.path).unlink()
    edit(store, listing, artefacts=[vars(missing)])
    recounted = first(store, "demonstration_sets")
    wrong = {**vars(recounted.artefacts[0]), "n_rows": 3, "n_bytes": 5}
    edit(store, recounted, artefacts=[wrong])
    (root(store) / "predictions" / "unreferenced.parquet").write_bytes(b"half a file")
    unreadable = first(store, "recipes")
    (root(store) / unreadable.path).write_text("{")
    unfitting = made_up_record("base_models", {"wrong": True})
    unfitting = replace(unfitting, rows={"base_models": [{"base_model_id": unfitting.id, "n_blocks": "many"}]})
    store.write_record(unfitting)
    lost = next(record for record in store.records("variants") if record.parameters["score"] == "magnitude")
    (root(store) / lost.path).unlink()
    (environment,) = (path for path in store.list("runs") if "/environment-" in path)
    store.delete(environment)
    gone = ["internal.language_gap", "internal.pareto"]
    with duckdb.connect(str(root(store) / "catalog.duckdb")) as connection:
        for view in gone:
            connection.execute(f"DROP VIEW {view}")
    damages, notes = check(store)
    found = {(damage.location, damage.problem.partition(":")[0]) for damage in damages}
    assert found >= {
        (flipped.path, "an artefact is damaged"),
        (missing.path, "an artefact is missing"),
        (wrong["path"], "the size differs from the record"),
        (wrong["path"], "the number of rows differs from the record"),
        (unreadable.path, "the record is damaged"),
        (unfitting.path, "the record does not fit the catalog"),
        ("jobs.environment_id", "a key has no row in environments"),
    }
    dangling = {damage.location for damage in damages if damage.got == lost.id}
    assert dangling >= {"metrics.variant_id", "evaluations.variant_id", "comparison_results.variant_id"}
    assert dangling >= {"rank_consistency.variant_id", "record_parents.parent_id"}
    locations = [damage.location for damage in damages]
    assert locations.count(missing.path) == 1, "two records list it"
    assert resized.path not in locations
    assert sorted(where for where, problem in found if problem == "the view cannot be queried") == gone
    assert notes == sorted(["predictions/unreferenced.parquet", *(one.path for one in listing.artefacts)])


@pytest.mark.thorough("checks many damaged copies of a store")
def test_an_edited_record_is_found_by_its_id_and_by_the_catalog(store: Store) -> None:
    renamed = first(store, "recipes")
    edit(store, renamed, parameters={"name": "another"})
    changed = first(store, "evaluations")
    rows = json.loads((root(store) / changed.path).read_text())["rows"]
    rows["metrics"][0]["value"] = 0.99
    edit(store, changed, rows=rows)
    damages, _ = check(store)
    derived = (
        "metrics",
        *renamed.rows,
        "mean_powers",
        "quarantined_questions",
        "question_records",
        "records",
        "test_powers",
    )  # the families of its questions are gone, too
    assert {(damage.location, damage.problem.partition(":")[0]) for damage in damages} == {
        (renamed.path, "the record is damaged"),
        *((table, "the table differs from a rebuilt one") for table in derived),
    }
    assert all("\n" not in str(damage) for damage in damages)


@pytest.mark.thorough("checks many damaged copies of a store")
def test_a_compacted_store_with_a_table_of_a_user_is_sound_until_a_record_is_edited(
    store: Store,
) -> None:
    """Claims are not checked."""
    record = first(store, "recipes")
    compact(store)
    store.write_record(record)
    store.write_bytes("claims/variants/x.json", b"a run is active")
    with duckdb.connect(str(root(store) / "catalog.duckdb")) as connection:
        connection.execute("CREATE TABLE notes AS SELECT 'look at Swahili' AS note")
    assert check(store) == ([], [])
    edit(store, record, rows={**record.rows, "names": []})
    damages, _ = check(Store(store.uri))
    assert {damage.location for damage in damages} == {record.path, "names"}


@pytest.mark.thorough("checks many damaged copies of a store")
def test_damaged_segments_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for kind, place in (("recipes", 40), ("rank_consistency", -5)):
        store.write_record(made_up_record(kind))
        compact(store)
        (path,) = (root(store) / "records" / kind / "segments").iterdir()
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
    damages, _ = check(Store(store.uri))
    found = {damage.location.split("/")[1]: damage.problem for damage in damages}
    assert found["recipes"].startswith("the segment cannot be read")
    assert "damaged" in found["rank_consistency"]
    assert all("\n" not in str(damage) for damage in damages)


def during_the_check(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act as a run does between the fold of the check and the catalog that it compares with."""
    in_memory = Catalog.in_memory

    def acting(store: Store) -> Catalog:
        act()
        return in_memory(store)

    monkeypatch.setattr(Catalog, "in_memory", acting)


@pytest.mark.thorough("checks many damaged copies of a store")
def test_records_that_a_run_adds_or_sets_aside_during_the_check_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, numbers = Store(tmp_path), itertools.count()
    old = [made_up_record("mask_overlaps")]
    store.write_record(old[0])

    def act() -> None:
        path = f"predictions/new-{next(numbers)}.parquet"
        store.write_record(made_up_record("demonstration_sets", {"path": path}))
        store.write_bytes(path, b"")
        if old:
            store.quarantine(old.pop())

    during_the_check(monkeypatch, act)
    assert check(store) == ([], [])


@pytest.mark.thorough("checks many damaged copies of a store")
def test_a_parent_that_the_first_fold_did_not_list_is_no_dangling_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    model = made_up_record("base_models")
    store.write_record(model)
    store.write_record(made_up_record("outliers", parents={"base_model": model.id}))
    with Catalog.open(store) as catalog:
        catalog.fold()
    record_ids, n_calls = Store.record_ids, itertools.count()

    def without_models(self: Store, kind: str | None = None) -> dict[str, set[str]]:
        ids = record_ids(self, kind)
        return ids if next(n_calls) > 1 else {name: found for name, found in ids.items() if name != "base_models"}

    monkeypatch.setattr(Store, "record_ids", without_models)
    assert check(store) == ([], [])


def changed(table: str, wanted: Mapping[str, Any], values: Mapping[str, Any]) -> Callable[[Store], None]:
    """Return a function that changes the first row of a table with the wanted values, in the row's record."""

    def change(store: Store) -> None:
        for record in store.records():
            rows = record.rows.get(table, ())
            for number, row in enumerate(rows):
                if all(row.get(name) == value for name, value in wanted.items()):
                    rows = [*rows[:number], {**row, **values}, *rows[number + 1 :]]
                    edit(store, record, rows={**record.rows, table: rows})
                    return

    return change


ON_TEST = {"task": "facts", "split": "test", "metric": "accuracy"}
ANY_SIGN = {"difference": -0.3, "p_value": 0.001, "ci_low": -0.4, "ci_high": -0.2}


@pytest.mark.thorough("checks many damaged copies of a store")
@pytest.mark.parametrize(
    ("table", "wanted", "values", "problem"),
    [
        ("comparison_results", ON_TEST, {**ANY_SIGN, "ci_high": 0.2}, "p_value and the interval disagree about 0"),
        ("comparison_results", ON_TEST, {**ANY_SIGN, "p_value": 0.2}, "p_value and the interval disagree about 0"),
        ("comparison_results", ON_TEST, {"interval": "tango", "ci_low": 0.8, "ci_high": 0.9}, "outside its interval"),
        ("comparison_results", ON_TEST, {"interval": "bca", "interval_contradicts_p": True}, "interval_contradicts_p"),
        ("comparison_results", ON_TEST, {"ci90_low": -0.9, "ci90_high": 0.9}, "the 90 % interval is not inside"),
        ("comparison_results", ON_TEST, {**ANY_SIGN, "p_value": -0.1}, "not a probability"),
        ("comparison_results", ON_TEST, {"n_gained": 9, "n_lost": 8, "difference": 0.3}, "gained and lost items"),
        ("comparison_results", ON_TEST, {"n": 39}, "the difference is not that of the two values"),
        (
            "comparison_results",
            ON_TEST,
            {"n_gained": 1, "n_lost": 0, "difference": 0.025, "p_value": 1e-9, "ci_low": 0.01, "ci_high": 0.04},
            "significant at the first step is below smallest_significant",
        ),
        ("aggregate_results", ON_TEST, {"value": 0.9}, "the difference is not that of the two values"),
        ("answers", {"margin": None}, {"difference": 0.9, "p_value": 0.9}, "the answer differs from its comparison"),
        ("metrics", ON_TEST, {"p_chance": 0.5}, "limit_reached is not what p_chance says"),
        ("metrics", ON_TEST, {"interval": "wilson", "ci_low": 0.9}, "the value is outside its interval"),
    ],
)
def test_values_that_contradict_each_other_are_damage_and_counted(
    store: Store, table: str, wanted: dict[str, Any], values: dict[str, Any], problem: str
) -> None:
    changed(table, wanted, values)(store)
    (root(store) / "catalog.duckdb").unlink()
    found = [str(damage) for damage in check(Store(store.uri))[0]]
    assert any(problem in text and "such as" in text for text in found), found


@pytest.mark.thorough("checks many damaged copies of a store")
def test_intervals_that_do_not_invert_their_test_may_disagree_with_it_if_they_say_so(store: Store) -> None:
    values = {**ANY_SIGN, "ci_high": 0.2, "interval": "bca", "interval_contradicts_p": True}
    (root(store) / "catalog.duckdb").unlink()
    changed("comparison_results", ON_TEST, values)(store)
    found = [damage.problem for damage in check(Store(store.uri))[0]]
    assert not [problem for problem in found if "disagree" in problem or "interval_contradicts_p" in problem]
    (note,) = marked_contradictions(Store(store.uri))
    assert "1 comparison and 0 groups" in note
