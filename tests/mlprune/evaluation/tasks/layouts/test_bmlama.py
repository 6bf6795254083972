"""BMLAMA from the published table: its quotes, and the place of the right candidate, which is published last."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlprune.descriptions import TemplateTask
from mlprune.errors import TaskFileError
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task import Task, template_task
from mlprune.evaluation.tasks.task_files import read_items
from tests.example_predictions import with_scores
from tests.published_data import csv_tabs

N_ROWS = 300
N_CANDIDATES = 5
HEADER = ["Prompt", "Ans", "Candidate Ans", "Subject"]
OWN = template_task(TemplateTask(name="own", template="{prompt} {candidate}", answer="answer", candidates="candidates"))
"""A task of a recipe; the first of its candidates with equal scores is predicted."""


def write(folder: Path, *rows: Sequence[object]) -> Path:
    for language in ("en", "zh"):
        listed = ", ".join(f"{language}{place}" for place in range(N_CANDIDATES))
        right = f"{language}{N_CANDIDATES - 1}"
        usual = [[f"{number} <mask>", right, listed, number] for number in range(N_ROWS)]
        csv_tabs(folder / f"{language}.tsv", [HEADER, *usual, *rows])
    return folder


def items(task: str | Task, folder: Path, language: str = "en") -> list[ChoiceItem]:
    read = read_items(task, folder, language=language, split="test").items
    return [item for item in read if isinstance(item, ChoiceItem)]


def accuracy_if_all_tie(task: str | Task, choices: Sequence[ChoiceItem]) -> float:
    predictions = with_scores([[0.0] * len(item.candidates) for item in choices], [item.gold for item in choices])
    (metric,) = task_metrics(task, "en", names=("accuracy",))
    return float(metric.value(metric.statistics(predictions).sum(axis=0)))


def test_ties_and_places_say_nothing_about_the_right_candidate(tmp_path: Path) -> None:
    choices = items("facts", write(tmp_path))
    places = Counter(item.gold for item in choices)
    assert set(places) == set(range(N_CANDIDATES))
    assert all(abs(n - N_ROWS / N_CANDIDATES) < 25 for n in places.values())
    assert accuracy_if_all_tie("facts", choices) == pytest.approx(1 / N_CANDIDATES)
    assert accuracy_if_all_tie(OWN, items(OWN, tmp_path)) == pytest.approx(1 / N_CANDIDATES, abs=0.08)


def test_a_candidate_has_one_index_in_all_languages(tmp_path: Path) -> None:
    write(tmp_path)
    for english, chinese in zip(items("facts", tmp_path), items("facts", tmp_path, "zh"), strict=True):
        assert [name.replace("en", "zh") for name in english.candidates] == list(chinese.candidates)
        assert (english.gold, english.example_id) == (chinese.gold, chinese.example_id)


def test_quotes_of_the_table_are_not_part_of_a_candidate(tmp_path: Path) -> None:
    (item,) = items("facts", write(tmp_path, ["x <mask>", 'פיפ"א', 'a, נאט"ו, פיפ"א', "x"]))[N_ROWS:]
    assert sorted(item.candidates) == sorted(["a", 'נאט"ו', 'פיפ"א'])
    assert item.candidates[item.gold] == 'פיפ"א'


@pytest.mark.parametrize(
    ("row", "message"), [(["x <mask>", "c", "a, b", "x"], "not a candidate"), (["x <mask>", "b"], "too few cells")]
)
def test_a_wrong_row_names_its_line(tmp_path: Path, row: list[str], message: str) -> None:
    with pytest.raises(TaskFileError, match=message) as caught:
        items("facts", write(tmp_path, row))
    assert (caught.value.context["line"], caught.value.context["file"]) == (N_ROWS + 2, str(tmp_path / "en.tsv"))


def test_a_table_of_three_columns_is_read(tmp_path: Path) -> None:
    csv_tabs(tmp_path / "en.tsv", [HEADER[:3], ["x <mask>", "b", "a, b"]])
    (item,) = items("facts", tmp_path)
    assert item.candidates[item.gold].endswith("b")
