"""Rows of records: those of every job are accepted; foreign and duplicated ones are not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.ingest.record_rows import add_rows, quarantined_questions, row_problems
from catalog.ingest.table_files import declared_tables
from mlprune.numeric.statistics.variance_components import CrossedEstimate, ErrorParts
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.records import made_up_record
from tests.tiny_recipes import FinishedRun


@pytest.fixture
def evaluation(small_run: FinishedRun) -> Record:
    return next(small_run.store.records("evaluations"))


def test_every_table_of_a_kind_is_declared_with_its_column() -> None:
    for kind in RECORD_KINDS.values():
        for name, own in kind.tables.items():
            assert own is None or own in declared_tables()[name].column_names


@pytest.mark.parametrize("fixture", ["tiny_run", "baseline_run", "method_run"])
def test_the_records_of_runs_have_no_problem(fixture: str, request: pytest.FixtureRequest) -> None:
    run: FinishedRun = request.getfixturevalue(fixture)
    assert [problem for record in run.store.records() for problem in row_problems(record)] == []


def test_foreign_and_duplicated_rows_are_problems(evaluation: Record) -> None:
    rows = {name: [dict(row) for row in table] for name, table in evaluation.rows.items()}
    first = rows["metrics"][0]

    def problem(**changed: object) -> str:
        (text,) = row_problems(replace(evaluation, rows={**rows, **changed}))  # type: ignore[arg-type]
        return text

    assert "no rows in the table variants" in problem(variants=[{"variant_id": evaluation.id}])
    assert "no rows in the table nothing" in problem(nothing=[])
    assert "belongs to another record" in problem(metrics=[{**first, "evaluation_id": "f0"}])
    assert "several rows" in problem(metrics=[first, {**first, "value": 0.99}])
    assert list(row_problems(replace(evaluation, kind="riddles"))) == ["the kind riddles is unknown"]
    assert list(row_problems(made_up_record("recipes"))) == []


def test_answers_of_earlier_records_have_the_parts_of_the_error_that_their_interval_has() -> None:
    estimate = CrossedEstimate(0.1, 0.3, 0.2, 3, 30)
    ends = {"ci_low": estimate.interval().low, "ci_high": estimate.interval().high}
    numbers = {"n_seeds": 3, "n_clusters": 30, "standard_error": estimate.standard_error}
    over_seeds = {"question_id": "q", "comparison_id": "", "test": "crossed_t", **ends, **numbers}
    of_items = {**over_seeds, "comparison_id": "", "test": "sign_flip"}
    without = {**of_items, "standard_error": None}
    of_one = {**of_items, "comparison_id": "c"}
    known = {**over_seeds, "error_of_seeds": 1.0, "error_of_baseline_seeds": 2.0, "error_of_items": 3.0}
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in (over_seeds, of_items, without, of_one, known):
        record = replace(made_up_record("answers"), rows={"answers": [row]}, step_version=2)
        add_rows(record, rows)  # type: ignore[arg-type]
    errors = [[row.get(f"error_of_{name}") for name in ErrorParts._fields] for row in rows["answer_results"]]
    assert errors[0] == pytest.approx([0.3**0.5, 0.0, 0.2**0.5])
    assert errors[1:] == [[0.0, 0.0, pytest.approx(0.5**0.5)], [None] * 3, [None] * 3, [1.0, 2.0, 3.0]]


def test_the_questions_of_a_quarantined_record_are_those_that_any_part_of_it_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    numbers = ["q", "mine", "dense", True, [0]]
    rows = {
        "questions": [
            {"question_id": "in rows", "recipe": "renamed", "is_declared": True},
            {"question_id": "default", "recipe": "study", "is_declared": False},
            {"question_id": 3, "recipe": None, "is_declared": True},
        ],
        "recipe_questions": [{"question_id": "only here", "recipe": "study"}],
    }
    parameters = {"name": "study", "questions": [["in parameters", *numbers], ["default"], [], "x"]}
    record = made_up_record("recipes", parameters, rows=rows)
    store.write_record(record)
    assert quarantined_questions(store, sound={record.id}) == []
    store.quarantine(record)
    found = quarantined_questions(store, sound=())
    assert [(row["recipe"], row["question_id"]) for row in found] == [
        ("renamed", "in rows"),
        ("study", "in parameters"),
        ("study", "in rows"),
        ("study", "only here"),
    ]
    assert {row["record_id"] for row in found} == {record.id}
