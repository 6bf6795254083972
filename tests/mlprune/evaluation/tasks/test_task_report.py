"""Reports on the data of tasks."""

import json
from pathlib import Path

import pytest

from mlprune.evaluation.tasks.task_report import task_reports

XNLI = {"premise": "p", "hypothesis": "h"}


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_examples_and_labels_are_counted_and_wrong_rows_are_problems(tmp_path: Path) -> None:
    write(tmp_path / "fr.dev.jsonl", [{"id": n, **XNLI, "label": n % 2} for n in range(5)])
    write(tmp_path / "en.dev.jsonl", [{"id": 1, **XNLI, "label": 1}])
    write(tmp_path / "en.test.jsonl", [{"id": 1, **XNLI, "label": 7}])
    (report,) = task_reports(tmp_path)
    assert [(row.language, row.split, row.n, row.labels) for row in report.rows] == [
        ("en", "dev", 1, {"1": 1}),
        ("fr", "dev", 5, {"0": 3, "1": 2}),
    ]
    assert [row.chance for row in report.rows] == [pytest.approx(1 / 3), pytest.approx(0.6)]
    assert len(report.problems) == 1
    assert "wrong label" in report.problems[0]
    assert report.notes == ("fr dev: repeated examples: 4",)
    assert report.recipe == f"evaluations: [{{task: xnli, path: {tmp_path}, languages: [en, fr], split: dev}}]"
    (only,) = task_reports(tmp_path, task="xnli", split="dev")
    assert (only.problems, only.recipe.endswith("split: dev}]")) == ((), True)


def test_skipped_rows_are_one_note_with_their_names_and_wrong_languages_are_not_in_the_recipe(tmp_path: Path) -> None:
    for language, blank in (("en", ""), ("fr", "h"), ("sw", " ")):
        rows = [{"id": 1, **XNLI, "label": 1}, {"id": 2, "premise": "q", "hypothesis": blank, "label": 0}]
        write(tmp_path / f"{language}.test.jsonl", rows)
    write(tmp_path / "yo.test.jsonl", [{"id": 1, **XNLI, "label": 7}])
    (report,) = task_reports(tmp_path)
    (note,) = report.notes
    assert all(part in note for part in ("2 rows", "en test 2", "sw test 2"))
    assert len(report.problems) == 1
    assert "languages: [en, fr, sw]" in report.recipe
    (wrong,) = task_reports(tmp_path / "yo.test.jsonl")
    assert wrong.recipe == ""


def test_answers_of_tasks_with_their_own_candidates_are_positions(tmp_path: Path) -> None:
    rows = [
        {"id": n, "prompt": "<mask>", "candidates": [f"{n} {place}" for place in range(10)], "answer": gold}
        for n, gold in enumerate((9, 1, 1))
    ]
    write(tmp_path / "fr.test.jsonl", rows)
    (report,) = task_reports(tmp_path)
    assert list(report.rows[0].labels.items()) == [("candidate 2", 2), ("candidate 10", 1)]
    assert "task: facts" in report.recipe
    assert report.rows[0].chance == pytest.approx(0.1)
    assert task_reports(tmp_path / "none") == []
