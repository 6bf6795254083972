"""Answers of whole runs: from the predictions to the rows of the catalog."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.plan import Plan, pending_jobs
from mlprune.steps.evaluate.results import predictions_of
from mlprune.steps.questions.jobs import AnswerJob
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun


def answers(store: Store, plan: Plan, **criterion: Any) -> list[dict[str, Any]]:
    """The rows of the question with these values."""
    (question,) = [
        one for one in plan.questions if criterion.items() <= {"task": one.family.task, **vars(one.criterion)}.items()
    ]
    return [dict(row) for row in store.require("answers", question.id).rows["answers"]]


def test_every_question_of_a_run_is_answered(tiny_run: FinishedRun) -> None:
    jobs = [job for job in tiny_run.plan.jobs if isinstance(job, AnswerJob)]
    assert [job.identity.id for job in jobs] == [question.id for question in tiny_run.plan.questions]
    for job, question in zip(jobs, tiny_run.plan.questions, strict=True):
        record = tiny_run.store.require("answers", question.id)
        assert record.parents["comparisons"] == [key[1] for key in job.needs]
        assert len(record.rows["answers"]) == question.n_tests
        for row in record.rows["answers"]:
            is_worst = question.criterion.group_kind == "worst"
            assert (row["p_max_t"] is None) == is_worst
            corrected = row["p_holm"] if is_worst else row["p_max_t"]
            assert 0 < row["p_value"] <= max(corrected, row["p_value"]) <= 1  # type: ignore[type-var, operator]


def test_a_question_in_english_has_the_difference_of_the_predictions(tiny_run: FinishedRun) -> None:
    plan, store = tiny_run.plan, tiny_run.store
    rows = {row["variant_id"]: row for row in answers(store, plan, task="facts", group_kind="language")}
    (question,) = [one for one in plan.questions if one.family.task == "facts" and one.criterion.group_name == "en"]
    for comparison in question.comparisons:
        pair = next(pair for pair in comparison.pairs if pair[0].task.language == "en")
        ours, theirs = (predictions_of(store, evaluation) for evaluation in pair)
        assert rows[comparison.variant_id]["n_items"] == len(ours.example_ids) == len(theirs.example_ids)
    chances = {row["chance"] for row in rows.values()}
    assert len(chances) == 1
    assert 0 < chances.pop() < 1


def test_answers_are_pending_until_they_are_in_the_store(tiny_run: FinishedRun, tmp_path: Path) -> None:
    plan = tiny_run.plan
    empty = Store(str(tmp_path))
    pending = [job for job in pending_jobs(plan.jobs, empty) if isinstance(job, AnswerJob)]
    assert len(pending) == len(plan.questions)
    assert not [job for job in pending_jobs(plan.jobs, tiny_run.store) if isinstance(job, AnswerJob)]


@pytest.mark.parametrize("kind", ["outside_english", "worst"])
def test_groups_have_the_difference_of_the_comparison(tiny_run: FinishedRun, kind: str) -> None:
    for row in answers(tiny_run.store, tiny_run.plan, task="facts", group_kind=kind):
        record = tiny_run.store.require("comparisons", row["comparison_id"])
        (result,) = [
            one for one in record.rows["aggregate_results"] if (one["group_kind"], one["metric"]) == (kind, "accuracy")
        ]
        assert (row["difference"], row["p_value"]) == (result["difference"], result["p_value"])
        assert row["n_languages"] == result["n_languages"]
