"""Recheck: what a run wrote follows from its predictions, masks and statistics; changed values do not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import DamagedArtefactError, StoreError
from mlprune.steps.recheck import RECHECKED_KINDS, Recheck, has_masks_to_rebuild
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.mlprune.steps.sensitivity.planted import planted_recipe
from tests.tiny_recipes import FinishedRun, copy_of, finished_run, small_recipe


def no_model(base_model_id: str) -> Path:
    raise StoreError("no model here", base_model_id=base_model_id)


def contradictions(store: Store, record: Record) -> list[str]:
    return Recheck(store, no_model).contradictions(record)


def evaluation_of(run: FinishedRun, task: str) -> Record:
    return next(record for record in run.store.records("evaluations") if record.parameters["task"] == task)


def with_metric(record: Record, **changed: Any) -> Record:
    first, *others = record.rows["metrics"]
    return replace(record, rows={**record.rows, "metrics": [{**first, **changed}, *others]})


@pytest.fixture(scope="module")
def analysed_run(tiny_inputs: Path) -> FinishedRun:
    """A sensitivity analysis, choices, layer errors, and removed weights of neurons."""
    entry = {**small_recipe()["variants"][0], "name": "pruned", "sparsity": 0.5, "propagation": "dense"}
    schedules = [{**entry, "name": kind, "schedule": {"kind": kind}} for kind in ("owl", "dlp", "alpha_pruning")]
    recipe = {
        **planted_recipe(),
        "variants": [entry, *schedules],
        "evaluations": [
            *planted_recipe()["evaluations"],
            {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 6, "split": "dev"},
        ],
        "analyses": {"layer_errors": {"demonstrations": ["mt"]}, "neuron_variants": ["pruned"]},
    }
    return finished_run(tiny_inputs, recipe, name="analysed")


@pytest.fixture(scope="module", params=["tiny_run", "baseline_run", "analysed_run"])
def run(request: pytest.FixtureRequest) -> FinishedRun:
    return request.getfixturevalue(request.param)


def recheck_of(run: FinishedRun, store: Store) -> Recheck:
    return Recheck(store, lambda _: run.folder / "model")


def test_everything_that_runs_wrote_follows_from_its_inputs(run: FinishedRun) -> None:
    recheck = recheck_of(run, run.store)
    assert {record.path: found for record in run.store.records() if (found := recheck.contradictions(record))} == {}


def change_a_number(rows: Any) -> bool:
    """Change one number of a result that no reader would doubt; return whether there was one."""
    for name, value in sorted(rows.items()):
        if type(value) is float and not name.startswith("p_"):
            rows[name] = 0.9 if value != 0.9 else 0.8
            return True
        if type(value) is int and name in ("n_removed", "n_before", "block", "first_block"):
            rows[name] = value + 1
            return True
    return False


def forged(record: Record) -> Record | None:
    """Return a record with another value in one of its rows; None if it has no number."""
    fields = json.loads(record.to_json())
    for table in ["variant_layers"] if record.kind == "variants" else sorted(fields["rows"]):
        if any(change_a_number(row) for row in fields["rows"].get(table, ())):
            return replace(record, rows=fields["rows"])
    return None


def test_one_changed_value_is_found_in_every_kind_that_is_computed_again(
    tiny_run: FinishedRun, baseline_run: FinishedRun, analysed_run: FinishedRun
) -> None:
    found: dict[str, bool] = {}
    for one in (tiny_run, baseline_run, analysed_run):
        recheck = recheck_of(one, one.store)
        for kind in RECHECKED_KINDS:
            changed = next((wrong for record in one.store.records(kind) if (wrong := forged(record))), None)
            if changed is not None:
                found[kind] = found.get(kind, True) and bool(recheck.contradictions(changed))
    assert found == dict.fromkeys(RECHECKED_KINDS, True)


def test_wrong_contributions_are_found(tiny_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    first, second = list(store.records("comparisons"))[:2]
    artefact = replace(first.artefacts[0], sha256=second.artefacts[0].sha256, n_bytes=second.artefacts[0].n_bytes)
    store.write(artefact.path, store.read_bytes(second.artefacts[0]))
    (problem,) = contradictions(store, replace(first, artefacts=(artefact,)))
    assert artefact.path in problem


def test_a_result_without_its_inputs_or_the_model_cannot_be_computed_again(
    tiny_run: FinishedRun, analysed_run: FinishedRun, tmp_path: Path
) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    record = next(store.records("comparisons"))
    (tmp_path / "store" / "records" / "evaluations" / f"{record.parents['evaluations'][0]}.json").unlink()
    with pytest.raises(StoreError):
        contradictions(store, record)
    with pytest.raises(StoreError):
        contradictions(analysed_run.store, next(analysed_run.store.records("layer_errors")))


def test_nothing_is_written_to_the_store(tiny_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    paths = store.list("")
    for kind in ("comparisons", "answers"):
        contradictions(store, next(store.records(kind)))
    assert store.list("") == paths


@pytest.mark.parametrize("task", ["facts", "perplexity", "translation"])
def test_metrics_follow_from_predictions_and_changed_ones_do_not(tiny_run: FinishedRun, task: str) -> None:
    record = evaluation_of(tiny_run, task)
    value = record.rows["metrics"][0]["value"]
    assert contradictions(tiny_run.store, record) == []
    assert contradictions(tiny_run.store, with_metric(record, value=value * (1 + 1e-12))) == []
    (problem,) = contradictions(tiny_run.store, with_metric(record, value=value + 0.5))
    assert str(value) in problem
    assert contradictions(tiny_run.store, with_metric(record, n=1))


def test_numbers_of_another_processor_are_no_contradiction(tiny_run: FinishedRun) -> None:
    record = next(tiny_run.store.records("comparisons"))
    rows = [
        {name: value * (1 + 1e-12) if type(value) is float else value for name, value in row.items()}
        for row in record.rows["comparison_results"]
    ]
    assert contradictions(tiny_run.store, replace(record, rows={**record.rows, "comparison_results": rows})) == []


def test_many_differences_of_a_record_are_counted(tiny_run: FinishedRun) -> None:
    record = next(tiny_run.store.records("mask_overlaps"))
    rows = {"mask_overlaps": [{**row, "jaccard": 0.9} for row in record.rows["mask_overlaps"]]}
    problems = contradictions(tiny_run.store, replace(record, rows=rows))
    assert len(problems) == 4
    assert str(len(rows["mask_overlaps"]) - 3) in problems[-1]


def test_rows_that_are_missing_or_too_many_are_named(tiny_run: FinishedRun) -> None:
    record = evaluation_of(tiny_run, "facts")
    none = replace(record, rows={"evaluations": record.rows["evaluations"]})
    (problem,) = contradictions(tiny_run.store, none)
    assert "but it has 0" in problem


def test_values_of_another_version_of_sacrebleu_are_not_compared(tiny_run: FinishedRun) -> None:
    record = with_metric(evaluation_of(tiny_run, "translation"), signature="version:1", value=99.0)
    assert contradictions(tiny_run.store, record) == []


def test_damaged_predictions_are_an_error(tiny_run: FinishedRun, tmp_path: Any) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    record = evaluation_of(tiny_run, "facts")
    store.write_bytes(record.artefacts[0].path, b"no Parquet")
    with pytest.raises(DamagedArtefactError):
        contradictions(store, record)


def test_only_masks_that_follow_from_statistics_are_rebuilt(tiny_run: FinishedRun) -> None:
    variants = list(tiny_run.store.records("variants"))
    masked = [record for record in variants if record.rows["variants"][0]["mask_sha256"] is not None]
    assert [record for record in variants if has_masks_to_rebuild(record)] == masked
    assert 0 < len(masked) < len(variants)
    assert not any(has_masks_to_rebuild(record) for record in tiny_run.store.records("masks"))
