"""The first section of the report: the answers to the questions about each task, and the best variant by language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.report.labels import p_value
from catalog.report.query_results import Source, run_report_query
from catalog.report.summary.amounts import bound, change, change_interval, corrected_p, loss_bound
from catalog.report.summary.answer_cards import answer_card, shown_questions
from catalog.report.summary.best_variants import TableRow, best_variants_table
from catalog.report.summary.findings import Finding
from catalog.report.summary.question_texts import group_text
from catalog.results import Row
from catalog.store import Catalog

ANSWER_COLUMNS: tuple[str, ...] = (
    "question",
    "variant",
    "difference (95% interval)",
    "loss at most",
    "p",
    "p, corrected",
    "p of the margin",
    "supported",
)
"""Headings of the table of answers."""
MAX_ANSWERS = 200
"""Maximum number of tests of one question in the table: supported claims first, then the smallest p-values."""


@dataclass(frozen=True)
class Headline:
    """Findings and tables of one task."""

    title: str
    findings: tuple[Finding, ...]
    answers: tuple[TableRow, ...]
    """One row per test of the findings, at most `MAX_ANSWERS` per question; the columns are `ANSWER_COLUMNS`."""
    n_answers: int
    """Number of all tests."""
    table: tuple[TableRow, ...]
    """One row per language with its best variant; the columns are those of `best_variants`."""
    sources: tuple[Source, ...]


def headlines(catalog: Catalog, *, answers: Sequence[Row], models: Sequence[Row]) -> tuple[Headline, ...]:
    """Return a headline for each task with questions or accuracies, tasks with primary questions first.

    Args:
        answers: rows of `answered_questions.sql`.
        models: rows of `base_models.sql`.
    """
    names = {row["base_model_id"]: str(row["source"]) for row in models}
    questions = shown_questions(answers)
    asked = [str(rows[0]["task"]) for rows in sorted(questions, key=lambda rows: not rows[0]["is_primary"])]
    measured = [str(row["task"]) for row in run_report_query(catalog, "tasks").rows]
    return tuple(
        _headline(
            catalog,
            task,
            questions=[rows for rows in questions if rows[0]["task"] == task],
            models=names,
            has_accuracy=task in measured,
        )
        for task in dict.fromkeys((*asked, *measured))
    )


def _headline(
    catalog: Catalog, task: str, *, questions: Sequence[Sequence[Row]], models: Mapping[str, str], has_accuracy: bool
) -> Headline:
    best = run_report_query(catalog, "chosen_on_dev", folder="queries", parameters={"task": task, "metric": "accuracy"})
    return Headline(
        title=task,
        findings=tuple(answer_card(answers, n_models=len(models)) for answers in questions),
        answers=tuple(_answer_row(row) for answers in questions for row in _shown_answers(answers)),
        n_answers=sum(map(len, questions)),
        table=best_variants_table(best.rows, models) if has_accuracy else (),
        sources=(best,) if has_accuracy else (),
    )


def _shown_answers(answers: Sequence[Row]) -> list[Row]:
    """Return the answers of a question that the table shows, in the order of the answers."""
    if len(answers) <= MAX_ANSWERS:
        return list(answers)

    def rank(index: int) -> tuple[bool, float]:
        row = answers[index]
        return not row["is_supported"], 1.0 if row["p_value"] is None else row["p_value"]

    return [answers[index] for index in sorted(sorted(range(len(answers)), key=rank)[:MAX_ANSWERS])]


def _answer_row(row: Row) -> TableRow:
    corrected, _ = corrected_p(row)
    loss = loss_bound(row)
    cells = (
        str(row["name"] or group_text(row)),
        str(row["label"] or f"mean of {row['n_variants']} variants"),
        change(row["difference"], row["scale"]) + change_interval(row),
        "–" if loss is None else bound(max(0.0, loss), row["scale"]),
        p_value(row["p_value"]),
        p_value(corrected),
        p_value(row["p_margin_holm"]),
        "yes" if row["is_supported"] else "no",
    )
    facets = {"model": row["base_model"], "score": row["intervention"] or row["score"]}
    facets["pair"] = row["demonstration_label"]
    return TableRow(cells, {name: str(value) for name, value in facets.items() if value is not None})
