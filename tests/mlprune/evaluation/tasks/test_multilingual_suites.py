"""Items of exams, news, situations and descriptions in many languages, and XWinograd's original table."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import BlankTextError, TaskFileError
from mlprune.evaluation.tasks.builtin.exam_questions import listed_item
from mlprune.evaluation.tasks.builtin.global_piqa import four_solutions_item, standard_code, two_solutions_item
from mlprune.evaluation.tasks.builtin.m_hellaswag import m_hellaswag_item
from mlprune.evaluation.tasks.builtin.masakhanews import TOPICS, masakhanews_item
from mlprune.evaluation.tasks.builtin.xcsqa import xcsqa_item
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task_files import ItemSelection, read_items
from tests.published_data import tabs
from tests.refusals import refused

QUESTION = {"question": "How many? ", "options": ["one", " two", "three"], "answer": "C"}
NEWS = {"headline": "Rain", "text": "It rained.\n\nAgain.", "category": "health"}
SITUATION = {"prompt": "To swim, ", **{f"solution{n}": f"way {n}. " for n in range(4)}, "label": "1"}
DESCRIPTION = {
    "activity_label": "Clean and jerk",
    "ctx_a": "A lady walks to a barbell [title] with care.",
    "ctx_b": "the lady",
    "endings": ["[step] swings.", "pulls  it up."],
    "label": " 1",
}
COMMON_SENSE = {
    "question": {"stem": "Q?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
    "answerKey": "B",
}


def test_options_are_a_list_that_a_table_has_as_text() -> None:
    item = listed_item("7", QUESTION)
    assert item.texts == ("How many? one", "How many? two", "How many? three")
    assert (item.gold, item.starts) == (2, (10, 10, 10))
    other = listed_item("7", {**QUESTION, "options": "['one', 'two', 3]", "answer": 2})
    assert other.texts == (*item.texts[:2], "How many? 3")


def test_news_are_a_headline_and_a_text_before_one_of_seven_topics() -> None:
    item = masakhanews_item("7", NEWS)
    assert item.candidates == TOPICS
    assert item.texts[item.gold] == "Rain It rained. Again. The topic is health"
    assert masakhanews_item("7", {**NEWS, "text": ""}).texts[0] == "Rain The topic is business"


def test_situations_have_two_or_four_solutions() -> None:
    assert four_solutions_item("7", SITUATION).texts[3] == "To swim, way 3."
    item = two_solutions_item("7", SITUATION)
    assert (item.texts[item.gold], len(item.texts)) == ("To swim, way 1.", 2)


def test_marks_of_descriptions_are_removed() -> None:
    item = m_hellaswag_item("7", DESCRIPTION)
    start = "Clean and jerk: A lady walks to a barbell. with care. The lady "
    assert item.texts == (f"{start}swings.", f"{start}pulls it up.")
    assert item.gold == 1


@pytest.mark.parametrize(
    ("to_item", "row", "key", "values"),
    [
        (listed_item, QUESTION, "answer", ["D", "", "3", 3, None, True, ["C"]]),
        (listed_item, QUESTION, "options", ["one", [], {"a": "b"}]),
        (masakhanews_item, NEWS, "category", ["travel", None]),
        (four_solutions_item, SITUATION, "label", [4, "4", "a", "-1", None]),
        (two_solutions_item, SITUATION, "label", ["2"]),
        (m_hellaswag_item, DESCRIPTION, "label", ["", "2", None]),
        (m_hellaswag_item, DESCRIPTION, "endings", ["a", []]),
        (xcsqa_item, COMMON_SENSE, "answerKey", ["", None, "C", 1, "b"]),
        (xcsqa_item, COMMON_SENSE, "question", ["Q?", {}, {"stem": "Q?", "choices": "x"}]),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(to_item: Any, row: dict[str, Any], key: str, values: list[Any]) -> None:
    for value in values:
        with refused(TaskFileError, key=key):
            to_item("7", {**row, key: value})


@pytest.mark.parametrize(
    ("to_item", "row", "change"),
    [
        (listed_item, QUESTION, {"options": ["one", None]}),
        (four_solutions_item, SITUATION, {"solution2": None}),
        (m_hellaswag_item, DESCRIPTION, {"endings": ["a", None]}),
        (masakhanews_item, NEWS, {"headline": " "}),
    ],
)
def test_a_blank_text_is_known_as_one(to_item: Any, row: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(BlankTextError):
        to_item("7", {**row, **change})


@pytest.mark.parametrize(
    ("code", "standard"),
    [("fra_latn_cana", "fra_Latn_CA"), ("cmn_hans", "cmn_Hans"), ("slv_latn_cerk", "slv_Latn_Cerk")],
)
def test_regions_of_situations_have_their_usual_codes(code: str, standard: str) -> None:
    assert standard_code(code) == standard


SCHEMA = ["en", "original", "?", 'Ann told it "it" broke, because it fell.']
TOKENS = ["Ann", "told", "it", "``", "it", "''", "broke", ",", "because", "it", "fell", "."]
OPTIONS = [["Ann", [0, 1], ["Ann"], False], ["the cup", [2, 3], ["it"], True]]


def winograd(folder: Path, **parts: object) -> ChoiceItem:
    values = {"tokens": TOKENS, "pronoun": ["it", [9, 10], ["it"]], "candidates": OPTIONS, **parts}
    tabs(folder / "dataset.tsv", [[*SCHEMA, *map(json.dumps, values.values())]])
    (item,) = read_items("xwinograd", folder, ItemSelection("en", "test")).items
    assert isinstance(item, ChoiceItem)
    return item


def test_the_gap_is_at_the_pronoun_that_the_tokens_say(tmp_path: Path) -> None:
    item = winograd(tmp_path)
    assert item.texts == tuple(f'Ann told it "it" broke, because {option} fell.' for option in ("Ann", "the cup"))
    assert item.gold == 1


@pytest.mark.parametrize(
    "parts",
    [
        {"tokens": ["other"] * 12},
        {"pronoun": ["she", [9, 10], ["she"]]},
        {"pronoun": []},
        {"candidates": OPTIONS[:1]},
        {"candidates": [*OPTIONS, OPTIONS[1]]},
        {"candidates": [OPTIONS[0], [1, [], [], True]]},
    ],
)
def test_a_row_in_another_format_is_one_error(tmp_path: Path, parts: dict[str, object]) -> None:
    with refused(TaskFileError, line=1, language="en", task="xwinograd"):
        winograd(tmp_path, **parts)
