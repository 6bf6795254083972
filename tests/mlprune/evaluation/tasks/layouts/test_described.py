"""Published files that a recipe declares: every declaration of docs/data.md on small files of the same form."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlprune.descriptions import TemplateTask
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task import Task, template_task
from mlprune.evaluation.tasks.task_files import Item, ItemSelection, TaskData, read_items
from tests.published_data import json_lines, tabs, write_text
from tests.published_forms import FORMS, commas, tar_of_json_lines
from tests.refusals import refused

DOCS = Path(__file__).parents[5] / "docs/data.md"
PAIRS: dict[str, Any] = {"template": "{candidate}", "candidates": ["good", "bad"], "answer": {"constant": 0}}
LABELLED: dict[str, Any] = {"template": "{text} {candidate}", "labels": ["no", "yes"], "answer": "label"}


@cache
def declarations() -> Mapping[str, Any]:
    """Name -> declaration in docs/data.md."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    block = next(block for block in blocks if "- name: nusax" in block)
    return {entry["name"]: entry for entry in yaml.safe_load(block)["tasks"]}


def task(**keys: Any) -> Task:
    return template_task(TemplateTask.model_validate({"name": "own", **keys}))


def answer(item: Item) -> str:
    return item.candidates[item.gold] if isinstance(item, ChoiceItem) else item.reference


def read(path: Path, definition: Task, *, language: str = "en", split: str = "test") -> TaskData:
    return read_items(definition, path, ItemSelection(language, split))


def answers(data: TaskData) -> list[tuple[str, str]]:
    return [(item.example_id, answer(item)) for item in data.items]


def test_every_declaration_of_the_docs_has_a_published_form() -> None:
    assert declarations().keys() == FORMS.keys()


@pytest.mark.parametrize("name", FORMS)
def test_a_published_form_gives_its_items_by_the_declaration_of_the_docs(tmp_path: Path, name: str) -> None:
    form = FORMS[name]
    form.write(tmp_path)
    for language, items in form.items.items():
        data = read(tmp_path, task(**declarations()[name]), language=language, split=form.split)
        assert answers(data) == list(items)
        assert data.skipped == form.skipped


def test_joined_rows_have_the_part_of_their_file_as_a_key(tmp_path: Path) -> None:
    FORMS["cmmlu"].write(tmp_path)
    data = read(tmp_path, task(**declarations()["cmmlu"]), language="zh", split="dev")
    assert [item.category for item in data.items] == ["agronomy", "agronomy", "arts", "arts"]


def test_a_star_that_matches_one_file_changes_no_id(tmp_path: Path) -> None:
    json_lines(tmp_path / "en-v2.jsonl", [{"id": 7, "good": "a", "bad": "b"}])
    assert answers(read(tmp_path, task(**PAIRS, files="{language}-*.jsonl"))) == [("7", "a")]


def test_a_star_joins_no_files_of_several_folders_or_languages(tmp_path: Path) -> None:
    for name in ("v1/a.jsonl", "v2/b.jsonl"):
        json_lines(tmp_path / name, [{"good": "a", "bad": "b"}])
    with refused(TaskFileError, got=[f"{tmp_path.name}/v1/a.jsonl", f"{tmp_path.name}/v2/b.jsonl"]):
        read(tmp_path, task(**PAIRS, files="*.jsonl"))
    assert [name for name, _ in answers(read(tmp_path, task(**PAIRS, files="*/*.jsonl")))] == ["v1/a#0", "v2/b#0"]
    for name in ("en-a.jsonl", "eng-b.jsonl"):
        json_lines(tmp_path / "w" / name, [{"good": "a", "bad": "b"}])
    data = read(tmp_path / "w", task(**PAIRS, files="{language}-*.jsonl"))
    assert data.path.endswith("en-a.jsonl"), "the code that is written as the recipe has it comes first"


def test_an_error_in_joined_files_names_the_file_and_its_line(tmp_path: Path) -> None:
    rows = [{"id": "x", "good": "a", "bad": "b"}] * 2
    json_lines(tmp_path / "a.jsonl", rows[:1])
    json_lines(tmp_path / "b.jsonl", rows)
    with refused(TaskFileError, file=str(tmp_path / "b.jsonl"), line=2, got="b#x"):
        read(tmp_path, task(**PAIRS, files="*.jsonl"))
    json_lines(tmp_path / "b.jsonl", [{**rows[0], "good": 3}])
    with refused(TaskFileError, file=str(tmp_path / "b.jsonl"), line=1, key="good"):
        read(tmp_path, task(**PAIRS, files="*.jsonl"))


def test_an_error_in_a_table_names_line_and_delimiter_and_no_number_of_the_row(tmp_path: Path) -> None:
    place = {"file": str(tmp_path / "en.csv"), "line": 3}
    commas(tmp_path / "en.csv", [["text", "label"], ["a", "yes"], ["b", "other"]], delimiter=";")
    with refused(TaskFileError, **place, key="label", got="other") as caught:
        read(tmp_path, task(**LABELLED, files="{language}.csv", delimiter=";"))
    assert "example" not in caught.value.context
    with refused(TaskFileError, file=place["file"], line=2, delimiter=",", missing=["label"]):
        read(tmp_path, task(**LABELLED, files="{language}.csv", columns={"label": "label"}))
    assert "(" not in str(caught.value).partition("[")[2].replace(str(tmp_path), "")


@pytest.mark.parametrize("text", ['a;"x; y";yes\n', "a;x; y;yes\n"])
def test_a_delimiter_applies_to_tables_of_either_ending(tmp_path: Path, text: str) -> None:
    for ending in ("csv", "tsv"):
        write_text(tmp_path / f"en.{ending}", "id;text;label\n" + text)
        definition = task(**LABELLED, files=f"{{language}}.{ending}", delimiter=";")
        if '"' in text:
            assert [item.texts[1] for item in read(tmp_path, definition).items if isinstance(item, ChoiceItem)] == [
                "x; y yes"
            ]
        else:
            with refused(TaskFileError, line=2, delimiter=";", got=4):
                read(tmp_path, definition)


def test_rows_are_skipped_by_the_values_of_columns(tmp_path: Path) -> None:
    rows = [
        {"text": "t", "label": label, "info": {"split": split}}
        for label, split in (("yes", 1), ("-", 1), ("no", 2), (None, 1))
    ]
    json_lines(tmp_path / "en.jsonl", rows)
    data = read(tmp_path, task(**LABELLED, files="en.jsonl", skip={"label": ["-", None], "info.split": 2}))
    assert answers(data) == [("0", "yes")], "ids count all rows"
    assert data.skipped == {"label is -": 1, "info.split is 2": 1, "label is empty": 1}
    with refused(TaskFileError, missing=["kind"], line=1):
        read(tmp_path, task(**LABELLED, files="en.jsonl", skip={"kind": "x"}))


def test_a_constant_answer_is_an_index_a_letter_or_a_label(tmp_path: Path) -> None:
    json_lines(tmp_path / "en.jsonl", [{"good": "a", "bad": "b", "text": "t"}])
    for constant in (1, "B", "b"):
        definition = task(**{**PAIRS, "answer": {"constant": constant}}, files="en.jsonl")
        assert answers(read(tmp_path, definition)) == [("0", "b")]
    labelled = task(**{**LABELLED, "answer": {"constant": "yes"}}, files="en.jsonl")
    assert answers(read(tmp_path, labelled)) == [("0", "yes")]
    with refused(TaskFileError, got=2, line=1):
        read(tmp_path, task(**{**PAIRS, "answer": {"constant": 2}}, files="en.jsonl"))


def test_keys_of_objects_may_contain_dots_and_lists_of_objects_give_lists(tmp_path: Path) -> None:
    row = {"a.b": "yes", "q": {"x.y": {"text": "t"}}, "list": [{"v": "1"}, {"v": "2"}]}
    json_lines(tmp_path / "en.jsonl", [row])
    labelled = task(**LABELLED, files="en.jsonl", columns={"label": "a.b", "text": "list.v"})
    with refused(TaskFileError, key="text", got=["1", "2"]):
        read(tmp_path, labelled)
    with refused(TaskFileError, missing=["list.w"]):
        read(tmp_path, task(**LABELLED, files="en.jsonl", columns={"label": "list.w"}))
    choices = task(
        template="{candidate}",
        candidates="options",
        answer={"constant": 1},
        files="en.jsonl",
        columns={"options": "list.v"},
    )
    assert answers(read(tmp_path, choices)) == [("0", "2")]


def test_an_archive_of_a_pattern_has_one_file(tmp_path: Path) -> None:
    tar_of_json_lines(tmp_path / "en.jsonl.tar.gz", [{"good": "a", "bad": "b"}, {"good": 1, "bad": "b"}])
    definition = task(**PAIRS, files="{language}.jsonl.tar.gz")
    with refused(TaskFileError, file=str(tmp_path / "en.jsonl.tar.gz"), line=2):
        read(tmp_path, definition)
    tar_of_json_lines(tmp_path / "en.txt.tar.gz", [{"good": "a", "bad": "b"}])
    with refused(TaskFileError, file=str(tmp_path / "en.txt.tar.gz"), got=["en.txt.tar.gz/en.txt"]):
        read(tmp_path, task(**PAIRS, files="{language}.txt.tar.gz"))


def test_a_list_of_a_cell_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    tabs(tmp_path / "en.tsv", [["q", "a"], ["x", "[1, 2"]])
    definition = task(template="{q}", answer="a", generate={}, files="en.tsv", columns={"a": ["a"]})
    with refused(TaskFileError, column="a", got="[1, 2", line=2):
        read(tmp_path, definition)


@pytest.mark.parametrize(
    "text", ['{"id": 1, "good": "a", "bad": "b"}\n', json.dumps([{"id": 1, "good": "a", "bad": "b"}])]
)
def test_usual_names_may_end_with_json(tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "en.test.json", text)
    assert answers(read(tmp_path, task(**PAIRS))) == [("1", "a")]


def test_a_split_without_a_file_is_refused_with_the_splits_that_have_one(tmp_path: Path) -> None:
    FORMS["turkish_mmlu"].write(tmp_path)
    with refused(TaskFileError, split="test", expected=["split dev"]):
        read(tmp_path, task(**declarations()["turkish_mmlu"]), language="tr")
    FORMS["nusax"].write(tmp_path)
    with refused(TaskFileError, expected=["acehnese", "english", "toba_batak"]):
        read(tmp_path, task(**declarations()["nusax"]), language="su", split="valid")


def test_a_name_of_a_language_stands_for_no_other_language(tmp_path: Path) -> None:
    for name in ("swa", "fr"):
        json_lines(tmp_path / f"{name}.jsonl", [{"good": name, "bad": "b"}])
    definition = task(**PAIRS, files="{language}.jsonl", languages={"luo": "swa"})
    assert [answers(read(tmp_path, definition, language=language)) for language in ("luo", "fr")] == [
        [("0", "swa")],
        [("0", "fr")],
    ]
    with refused(TaskFileError, language="sw"):
        read(tmp_path, definition, language="sw")


def test_a_table_with_another_delimiter_is_refused_with_the_one_that_was_read(tmp_path: Path) -> None:
    commas(tmp_path / "en.csv", [["text", "label"], ["a", "yes"]], delimiter=";")
    with refused(TaskFileError, line=2, delimiter=",", missing=["text", "label"]):
        read(tmp_path, task(**LABELLED, files="en.csv"))
