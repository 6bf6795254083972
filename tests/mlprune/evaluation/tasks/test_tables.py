"""Files of tasks that a recipe describes: formats, columns, ids, candidates and answers, read without conversion."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.descriptions import TemplateTask
from mlprune.errors import CorpusError, TaskFileError
from mlprune.evaluation.tasks.answers import answer_index, listed_texts
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.tables import read_table, table_rows
from mlprune.evaluation.tasks.task import Task, template_task
from mlprune.evaluation.tasks.task_files import ItemSelection, TaskData, read_items
from tests.published_data import csv_tabs, json_lines, parquet, tabs, write_text
from tests.refusals import refused

ROWS: list[dict[str, Any]] = [
    {"question": 'Who said "no"?', "a": "Ann, Bob", "b": "Eve", "c": "All\nof them", "right": "B", "kind": "people"},
    {"question": "What?", "a": "1", "b": "2", "c": "3", "right": "C", "kind": "numbers"},
]
"""Questions with commas, quotes and line breaks."""
TEXTS = [('Who said "no"? Eve.', 1), ("What? 3.", 2)]
"""Text with the right candidate, and its index."""


def task(**keys: Any) -> Task:
    """A question with three options; keys change the description."""
    plain = {"name": "quiz", "template": "{question} {candidate}.", "answer": "right", "candidates": ["a", "b", "c"]}
    return template_task(TemplateTask.model_validate({**plain, "answer_as": "letter", **keys}))


def read(folder: Path, definition: Task, language: str = "fr") -> list[tuple[str, str, int]]:
    """(id, text with the right candidate, its index) of each item."""
    return right_texts(read_items(definition, folder, ItemSelection(language, "test")))


def right_texts(data: TaskData) -> list[tuple[str, str, int]]:
    items = [item for item in data.items if isinstance(item, ChoiceItem)]
    return [(item.example_id, item.texts[item.gold], item.gold) for item in items]


def cells(row: Mapping[str, Any]) -> list[Any]:
    return list(row.values())


def comma_separated(path: Path, rows: list[list[Any]]) -> None:
    quoted = [",".join('"' + str(cell).replace('"', '""') + '"' for cell in row) for row in rows]
    write_text(path, "\r\n".join(quoted) + "\r\n")


@pytest.mark.parametrize("ending", ["jsonl", "tsv", "csv", "parquet", "tsv.gz"])
def test_every_format_gives_the_same_items_and_the_number_of_the_row_as_an_id(tmp_path: Path, ending: str) -> None:
    path, table = tmp_path / f"fr.test.{ending}", [list(ROWS[0]), *map(cells, ROWS)]
    if ending == "jsonl":
        json_lines(path, ROWS)
    elif ending == "parquet":
        parquet(path, ROWS)
    elif ending == "csv":
        comma_separated(path, table)
    else:
        csv_tabs(path, table)
        path.write_bytes(gzip.compress(path.read_bytes()) if ending.endswith("gz") else path.read_bytes())
    assert read(tmp_path, task()) == [(str(n), *text) for n, text in enumerate(TEXTS)]
    data = read_items(task(category="kind"), tmp_path, ItemSelection("fr", "test"))
    assert [item.category for item in data.items] == ["people", "numbers"]


def test_columns_are_named_otherwise_or_by_position_in_a_table_without_a_header(tmp_path: Path) -> None:
    renamed = {"q": "question", "x": "a", "y": "b", "z": "c"}
    csv_tabs(tmp_path / "named/fr.test.tsv", [[*list(renamed), "right"], *(cells(row)[:5] for row in ROWS)])
    columns: dict[str, Any] = {key: name for name, key in renamed.items()}
    named = task(columns=columns)
    comma_separated(tmp_path / "plain/fr.test.csv", [[*cells(row)[:5][::-1], f"n{n}"] for n, row in enumerate(ROWS)])
    places: dict[str, Any] = {"right": 0, "c": 1, "b": 2, "a": 3, "question": 4}
    by_position = task(columns=places, id=5)
    assert read(tmp_path / "named", named) == [(str(n), *text) for n, text in enumerate(TEXTS)]
    assert read(tmp_path / "plain", by_position) == [(f"n{n}", *text) for n, text in enumerate(TEXTS)]
    listed = task(columns={**places, "options": [3, 2, 1]}, candidates="options", id=[5, 0])
    assert [name for name, *_ in read(tmp_path / "plain", listed)] == ["n0#B", "n1#C"]
    contents = {
        read_items(definition, tmp_path / folder, ItemSelection("fr", "test")).items[1].texts  # type: ignore[union-attr]
        for definition, folder in ((named, "named"), (by_position, "plain"), (listed, "plain"))
    }
    assert len(contents) == 1


@pytest.mark.parametrize("options", [json.dumps(["x", "y é"]), "['x', \"y é\"]", ["x", "y é"]])
def test_a_list_is_one_cell_or_one_value(tmp_path: Path, options: object) -> None:
    row = {"question": "Q", "options": options, "right": "y é"}
    definition = task(candidates="options", answer_as=None)
    if isinstance(options, str):
        tabs(tmp_path / "fr.test.tsv", [list(row), cells(row)])
    else:
        json_lines(tmp_path / "fr.test.jsonl", [row])
    assert read(tmp_path, definition) == [("0", "Q y é.", 1)]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{language}/{split}.tsv", "data/swa/test.tsv"),
        ("data/quiz_{split}_{language}-*.tsv", "data/quiz_test_sw-v2.tsv"),
        ("{language}/{language}.tsv", "sw_KE/sw_KE.tsv"),
    ],
)
def test_files_have_the_names_that_the_task_states(tmp_path: Path, pattern: str, name: str) -> None:
    csv_tabs(tmp_path / name, [list(ROWS[0]), *map(cells, ROWS)])
    definition = task(files=pattern)
    assert len(read(tmp_path, definition, "sw")) == len(ROWS)
    with refused(TaskFileError, language="fr", page="docs/data.md", split="test"):
        read(tmp_path, definition, "fr")


def test_several_files_of_a_language_are_refused(tmp_path: Path) -> None:
    for name in ("a/sw.tsv", "b/sw.tsv"):
        csv_tabs(tmp_path / name, [list(ROWS[0]), *map(cells, ROWS)])
    with refused(TaskFileError, got=[f"{tmp_path.name}/a/sw.tsv", f"{tmp_path.name}/b/sw.tsv"]):
        read(tmp_path, task(files="{language}.tsv"), "sw")


def test_the_place_of_values_is_not_part_of_an_id_but_their_meaning_is(tmp_path: Path) -> None:
    plain = task().description
    other = task(files="{language}.csv", columns={"question": "q"}, id="n", cluster="page").description
    assert plain is not None
    assert other is not None
    assert plain.parameters == other.parameters
    assert "answer_as" in plain.parameters


OPTIONS = ("one", "two", "3", "b")


@pytest.mark.parametrize(
    ("value", "kind", "index"),
    [
        (1, None, 1),
        ("two", None, 1),
        ("0", None, 0),
        (" C ", None, 2),
        ("d", "letter", 3),
        ("b", "letter", 1),
        ("b", "text", 3),
        ("3", "text", 2),
        ("3", "number", 3),
        (" 3", "number_from_1", 2),
        (4, "number_from_1", 3),
    ],
)
def test_an_answer_is_a_number_a_letter_or_a_text(value: object, kind: Any, index: int) -> None:
    assert answer_index({"right": value}, "right", OPTIONS, kind=kind) == index


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("3", None),  # the text of the third, and the number of the fourth
        ("b", None),
        ("four", None),
        (4, None),
        (-1, None),
        (True, None),
        (None, None),
        (1.0, None),
        ("E", "letter"),
        (0, "number_from_1"),
        ("²", "number"),
        ("9" * 5000, "number"),
    ],
)
def test_an_answer_that_is_none_or_can_be_two_candidates_is_refused(value: object, kind: Any) -> None:
    with refused(TaskFileError, key="right", got=value):
        answer_index({"right": value}, "right", OPTIONS, kind=kind)


@pytest.mark.parametrize("value", ["[" * 10_000, "[1, 2", "{'a': 1}", "", "['a', None]", "__import__('os')"])
def test_a_text_that_is_no_list_is_refused(value: str) -> None:
    with pytest.raises(TaskFileError):
        listed_texts({"options": value}, "options")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("A. x\nB. y", ["x", "y"]),
        ("  A) x.\n  and more\n\nB)y\nC) A. z", ["x.\n  and more", "y", "A. z"]),
        ("A. x", None),
        ("A. x\nC. y", None),
        ("B. x\nC. y", None),
        ("say\nA. x\nB. y", None),
        ("A new x\nB new y", None),
    ],
)
def test_lines_with_letters_in_turn_are_a_list(text: str, options: list[str] | None) -> None:
    if options is None:
        with pytest.raises(TaskFileError):
            listed_texts({"options": text}, "options")
    else:
        assert listed_texts({"options": text}, "options") == options


@pytest.mark.parametrize("paragraphs", [None, [{"qas": []}, {"context": "c"}], [{"qas": [{"id": "1"}]}]])
def test_a_task_refuses_an_article_that_is_not_in_the_format_of_squad(tmp_path: Path, paragraphs: object) -> None:
    file = tmp_path / "fr.json"
    write_text(file, json.dumps({"data": [{"paragraphs": paragraphs}]}))
    with pytest.raises(CorpusError) as raised:
        read_table(file)
    assert raised.value.context["file"] == str(file)


def test_labels_come_before_numbers() -> None:
    definition = task(candidates=None, labels=["1", "0"], answer_as=None, template="{question} {candidate}")
    assert definition.to_item is not None
    gold = [definition.to_item("7", {"question": "q", "right": right}) for right in ("1", "0", 1)]
    assert [item.gold for item in gold if item] == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "text", "context"),
    [
        ("fr.test.tsv", "question\ta\tb\nx\ty\n", {"got": 2, "line": 2, "delimiter": "\t"}),
        ("fr.test.csv", "question,a,a\n", {"expected": "different names", "line": 1, "delimiter": ","}),
        ("fr.test.csv", 'question,a,b,c,right\n"x\ny",1,2,3,A\nz,1,2\n', {"got": 3, "line": 4, "delimiter": ","}),
        ("fr.test.tsv", "question\ta\tb\tright\nx\ty\tz\tA\n", {"missing": ["c"], "line": 2}),
    ],
)
def test_a_table_that_does_not_fit_is_one_error(
    tmp_path: Path, name: str, text: str, context: dict[str, object]
) -> None:
    write_text(tmp_path / name, text)
    with refused(TaskFileError, language="fr", **context):
        read(tmp_path, task())


def test_positions_need_a_table(tmp_path: Path) -> None:
    json_lines(tmp_path / "fr.test.jsonl", ROWS)
    with refused(TaskFileError, got="columns by position"):
        table_rows(tmp_path / "fr.test.jsonl", has_header=False)


@pytest.mark.parametrize(
    "keys",
    [
        {"candidates": ["a"]},
        {"candidates": ["a", "a"]},
        {"files": "test.xlsx"},
        {"files": "test.tsv", "languages": {"ace": "acehnese"}},
        {"delimiter": "\n"},
        {"delimiter": "ab"},
        {"columns": {"a": 0}, "skip": {"label": "-"}},
        {"answer": {"constant": 1.5}},
        {"files": "{lang}.tsv"},
        {"files": "{language}.xlsx"},
        {"columns": {"a": 0, "b": "x"}},
        {"columns": {"a": 0}, "id": "n"},
        {"answer_as": "index"},
    ],
)
def test_a_wrong_description_of_files_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        task(**keys)
