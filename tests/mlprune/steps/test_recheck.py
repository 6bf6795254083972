"""Recheck: the metrics that a run wrote follow from its predictions, in every task; changed ones do not."""

from dataclasses import replace
from typing import Any

import pytest

from mlprune.errors import DamagedArtefactError
from mlprune.steps.recheck import contradictions, has_masks_to_rebuild
from mlprune.store.records import Record
from tests.tiny_recipes import FinishedRun, copy_of


def evaluation_of(run: FinishedRun, task: str) -> Record:
    return next(record for record in run.store.records("evaluations") if record.parameters["task"] == task)


def with_metric(record: Record, **changed: Any) -> Record:
    first, *others = record.rows["metrics"]
    return replace(record, rows={**record.rows, "metrics": [{**first, **changed}, *others]})


@pytest.mark.parametrize("task", ["facts", "perplexity", "translation"])
def test_metrics_follow_from_predictions_and_changed_ones_do_not(tiny_run: FinishedRun, task: str) -> None:
    record = evaluation_of(tiny_run, task)
    value = record.rows["metrics"][0]["value"]
    assert list(contradictions(tiny_run.store, record)) == []
    assert list(contradictions(tiny_run.store, with_metric(record, value=value * (1 + 1e-12)))) == []
    (problem,) = contradictions(tiny_run.store, with_metric(record, value=value + 0.5))
    assert str(value) in problem
    assert list(contradictions(tiny_run.store, with_metric(record, n=1)))


def test_rows_that_are_missing_or_too_many_are_named(tiny_run: FinishedRun) -> None:
    record = evaluation_of(tiny_run, "facts")
    none = replace(record, rows={"evaluations": record.rows["evaluations"]})
    (problem,) = contradictions(tiny_run.store, none)
    assert "but it has 0" in problem


def test_values_of_another_version_of_sacrebleu_are_not_compared(tiny_run: FinishedRun) -> None:
    record = with_metric(evaluation_of(tiny_run, "translation"), signature="version:1", value=99.0)
    assert list(contradictions(tiny_run.store, record)) == []


def test_damaged_predictions_are_an_error(tiny_run: FinishedRun, tmp_path: Any) -> None:
    store = copy_of(tiny_run.store, tmp_path / "store")
    record = evaluation_of(tiny_run, "facts")
    store.write_bytes(record.artefacts[0].path, b"no Parquet")
    with pytest.raises(DamagedArtefactError):
        list(contradictions(store, record))


def test_only_masks_that_follow_from_statistics_are_rebuilt(tiny_run: FinishedRun) -> None:
    variants = list(tiny_run.store.records("variants"))
    masked = [record for record in variants if record.rows["variants"][0]["mask_sha256"] is not None]
    assert [record for record in variants if has_masks_to_rebuild(record)] == masked
    assert 0 < len(masked) < len(variants)
    assert not any(has_masks_to_rebuild(record) for record in tiny_run.store.records("masks"))
