"""Rows of records: those of every job are accepted; foreign and duplicated ones are not."""

from dataclasses import replace

import pytest

from catalog.ingest.record_rows import row_problems
from catalog.ingest.table_files import declared_tables
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.records import Record
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
    assert {
        record.path: list(row_problems(record)) for record in run.store.records() if list(row_problems(record))
    } == {}


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
