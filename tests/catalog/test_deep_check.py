"""Deep check: values that do not follow from their files are found, set aside and made again, and never merged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.check import check, repair
from catalog.deep_check import deep_check, examination
from catalog.queries import answer_user_query
from catalog.store import Catalog
from mlprune.steps.rescore.verify import RECHECKED_KINDS
from mlprune.store.merge import merge
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.records import made_up_record, record_text
from tests.tiny_recipes import FinishedRun, copy_of, results, run_plan

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def store(small_run: FinishedRun, tmp_path: Path) -> Store:
    copy_of(small_run.store, tmp_path / "store")
    return Store(tmp_path / "store", quarantine=True)


def forge(store: Store, kind: str, change: Change, *, is_chosen: Callable[[Record], bool] = lambda _: True) -> Record:
    """Change the rows of a record and give it a checksum that matches; return the original."""
    record = next(record for record in store.records(kind) if is_chosen(record))
    fields = json.loads(record.to_json())
    change(fields["rows"])
    (Path(store.uri) / record.path).write_bytes(record_text(fields))
    return record


def raise_value(rows: dict[str, Any]) -> None:
    rows["metrics"][0]["value"] = 0.99


def raise_difference(rows: dict[str, Any]) -> None:
    rows["comparison_results"][0] |= {"difference": 0.9, "p_value": 1e-9}


def repeat_metric(rows: dict[str, Any]) -> None:
    rows["metrics"].append({**rows["metrics"][0], "value": 0.99})


def add_variant(rows: dict[str, Any]) -> None:
    rows["variants"] = [{"variant_id": "f0", "sparsity": 0.5}]


def change_masks(rows: dict[str, Any]) -> None:
    rows["variants"][0]["mask_sha256"] = "0" * 64


def is_masked(record: Record) -> bool:
    return record.rows["variants"][0]["mask_sha256"] is not None


def write_run_with_models(small_run: FinishedRun, store: Store) -> None:
    model = {small_run.plan.model.base_model_id: small_run.plan.model.path}
    store.write_run_file("run-1", "run", {"models": model})


@pytest.mark.thorough("checks many damaged copies of a store")
def test_everything_that_a_run_wrote_follows_from_its_files(small_run: FinishedRun, store: Store) -> None:
    _, notes = deep_check(store)
    assert len(notes) == 2
    assert "the base model is not" in notes[0]
    write_run_with_models(small_run, store)
    damages, (note,) = deep_check(store)
    assert damages == []
    assert set(note.partition(": ")[2].split(", ")) == {kind for kind, _ in store.record_names()} - set(RECHECKED_KINDS)


@pytest.mark.thorough("checks many damaged copies of a store")
def test_a_fabricated_comparison_is_found_set_aside_and_made_again(small_run: FinishedRun, store: Store) -> None:
    before = results(store)
    comparison = forge(store, "comparisons", raise_difference)
    damages, _ = deep_check(store)
    found = {damage.location: damage.problem for damage in reversed(damages)}
    assert {comparison.path} <= found.keys() <= {comparison.path} | descendants(store, {comparison.id})
    assert "0.9" in found[comparison.path]
    done = repair(store, damages)
    assert {comparison.path} | descendants(store, {comparison.id}) <= set(done.set_aside)
    run_plan(small_run.plan, store)
    assert results(store) == before


def test_records_of_earlier_versions_are_counted(store: Store) -> None:
    earlier = made_up_record("comparisons", {"number": 1}, step_version=RECORD_KINDS["comparisons"].version - 1)
    store.write_record(earlier)
    damages, notes = deep_check(store, kinds=("comparisons",))
    assert damages == []
    assert any("1 record of comparisons" in note for note in notes)


@pytest.mark.thorough("checks many damaged copies of a store")
def test_wrong_metrics_and_masks_are_found_and_made_again(small_run: FinishedRun, store: Store) -> None:
    write_run_with_models(small_run, store)
    before = results(store)
    evaluation = forge(store, "evaluations", raise_value)
    variant = forge(store, "variants", change_masks, is_chosen=is_masked)
    damages, _ = deep_check(store)
    assert {damage.location for damage in damages} == {evaluation.path, variant.path}
    assert "0.99" in next(damage.problem for damage in damages if damage.location == evaluation.path)
    done = repair(store, damages)
    dependents = {record.path for record in small_run.store.records() if variant.id in str(record.parents)}
    assert {evaluation.path, variant.path} | dependents <= set(done.set_aside)
    run_plan(small_run.plan, store)
    assert results(store) == before


def test_a_sample_is_the_same_for_the_same_seed(store: Store) -> None:
    checked = [deep_check(store, sample=8, seed=seed)[1] for seed in (0, 0, 1, 2)]
    assert checked[0] == checked[1]
    assert len({tuple(notes) for notes in checked}) > 1


def descendants(store: Store, ids: set[str]) -> set[str]:
    """Paths of the records that are made from records with these ids, directly or through others."""
    made = [record for record in store.records() if any(one in str(record.parents) for one in ids)]
    found = {record.id for record in made} - ids
    return {record.path for record in made} | (descendants(store, found) if found else set())


def test_a_merge_refuses_a_fabricated_comparison_and_its_answers(
    small_run: FinishedRun, store: Store, tmp_path: Path
) -> None:
    comparison = forge(store, "comparisons", raise_difference)
    target = Store(tmp_path / "target", quarantine=True)
    refused = merge(store, target, examine=examination(store)).refused
    assert set(refused) == {comparison.path} | descendants(small_run.store, {comparison.id})


def test_a_merge_refuses_a_result_whose_inputs_are_missing(store: Store, tmp_path: Path) -> None:
    comparison = next(store.records("comparisons"))
    (Path(store.uri) / "records/evaluations" / f"{comparison.parents['evaluations'][0]}.json").unlink()
    target = Store(tmp_path / "target", quarantine=True)
    assert comparison.path in merge(store, target, examine=examination(store)).refused


@pytest.mark.thorough("checks many damaged copies of a store")
def test_a_merge_refuses_forged_evaluations(small_run: FinishedRun, store: Store, tmp_path: Path) -> None:
    forged: list[Record] = []
    for change in (raise_value, repeat_metric, add_variant):
        forged.append(
            forge(
                store, "evaluations", change, is_chosen=lambda record: record.path not in {one.path for one in forged}
            )
        )
    target = Store(tmp_path / "target", quarantine=True)
    refused = merge(store, target, examine=examination(store)).refused
    dependents = descendants(small_run.store, {evaluation.id for evaluation in forged})
    assert set(refused) == {evaluation.path for evaluation in forged} | dependents
    assert merge(small_run.store, target, examine=examination(small_run.store)).refused == ()
    assert results(target) == results(small_run.store)
    in_rows = {damage.location for damage in check(store)[0]}
    assert [evaluation.path in in_rows for evaluation in forged] == [False, True, True]


@pytest.mark.thorough("checks many damaged copies of a store")
def test_a_query_warns_of_records_with_doubled_or_foreign_rows(store: Store) -> None:
    with Catalog.open(store) as catalog:
        assert answer_user_query(catalog, "SELECT 1 AS one").notes == ()
    forged = forge(store, "evaluations", repeat_metric)
    with Catalog.in_memory(store) as catalog:
        for query in ("SELECT 1 AS one", "best_by_language"):
            assert forged.path in answer_user_query(catalog, query).notes[0]
