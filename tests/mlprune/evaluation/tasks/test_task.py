"""Tasks described by a template: exact texts, and checks of the description."""

from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.descriptions import TemplateTask
from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.items import ChoiceItem
from mlprune.evaluation.tasks.task import template_task

MOOD = TemplateTask(
    name="mood", template="{text} Mood: {candidate}.", answer="label", labels=("0", "1"), words=("sad", "glad")
)
QUIZ = TemplateTask(
    name="quiz", template="Q: {question} A: {candidate} ({source})", answer="right", candidates="options", ties="shared"
)
ROW = {"question": "Why?", "source": "web", "options": ["so", "no"], "right": "no"}


def item_of(record: TemplateTask, row: dict[str, Any]) -> ChoiceItem:
    to_item = template_task(record).to_item
    assert to_item is not None
    item = to_item("7", row)
    assert item is not None
    return item


def test_labels_are_replaced_by_their_words_within_the_template() -> None:
    item = item_of(MOOD, {"text": "{Hello}", "label": 1})
    assert item == ChoiceItem(
        "7", ("0", "1"), ("{Hello} Mood: sad.", "{Hello} Mood: glad."), 1, (len("{Hello} Mood: "),) * 2
    )
    assert item_of(MOOD, {"text": "Oh", "label": "0"}).gold == 0


def test_a_row_may_list_its_own_candidates() -> None:
    item = item_of(QUIZ, ROW)
    assert item.texts == ("Q: Why? A: so (web)", "Q: Why? A: no (web)")
    assert (item.candidates, item.gold) == (("so", "no"), 1)


def test_braces_and_a_candidate_in_front() -> None:
    record = TemplateTask(name="t", template="{candidate} {{is}} {x}", answer="y", labels=("a", "b"))
    assert item_of(record, {"x": "it", "y": "a"}) == ChoiceItem("7", ("a", "b"), ("a {is} it", "b {is} it"), 0, (0, 0))


def test_the_task_needs_its_keys_and_has_label_metrics_for_fixed_labels() -> None:
    mood, quiz = template_task(MOOD), template_task(QUIZ)
    assert (mood.keys, quiz.keys) == (("text", "label"), ("question", "source", "options", "right"))
    assert "f1_macro" in mood.metrics
    assert quiz.metrics == ("accuracy", "ece")
    assert (mood.ties, quiz.ties) == ("earlier", "shared")


@pytest.mark.parametrize(
    "change", [{"options": []}, {"options": "so"}, {"right": "maybe"}, {"right": 2}, {"source": ""}]
)
def test_a_row_that_does_not_fit_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(TaskFileError):
        item_of(QUIZ, {**ROW, **change})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"template": "{text} Mood:"}, "template is wrong"),
        ({"template": "{candidate} {candidate}"}, "template is wrong"),
        ({"template": "{candidate} {0}"}, "template is wrong"),
        ({"template": "{candidate} {text.x}"}, "template is wrong"),
        ({"template": "{candidate} {text!r}"}, "template is wrong"),
        ({"template": "{candidate} {text"}, "template is wrong"),
        ({"labels": ()}, "labels or candidates"),
        ({"candidates": "options"}, "labels or candidates"),
        ({"labels": ("0",), "words": ()}, "wrong labels"),
        ({"labels": ("0", "0")}, "wrong labels"),
        ({"words": ("sad",)}, "wrong words"),
    ],
)
def test_a_wrong_description_is_an_error_that_names_the_task(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        TemplateTask(**{**vars(MOOD), **values})
    (error,) = caught.value.errors()
    assert error["ctx"]["context"]["task"] == "mood"
