"""Templates to the letter, and what a row must hold."""

from typing import get_args

import pytest

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks import (
    TASKS,
    ChoiceItem,
    facts_item,
    marc_item,
    paws_x_item,
    prompt_language,
    sentence_item,
    xcopa_item,
    xnli_item,
)
from mlprune.terms import TaskName

XNLI = {"premise": "Il pleut.", "hypothesis": "Le sol est sec.", "label": "contradiction"}
XCOPA = {
    "premise": "The man broke his toe.",
    "choice1": "He dropped a hammer.",
    "choice2": "ÉL cayó.",
    "question": "cause",
    "label": 0,
}
FACT = {"prompt": "<mask> est la capitale.", "candidates": ["paris", "Rome"], "answer": 0}


def test_every_task_has_a_record_with_metrics() -> None:
    assert set(TASKS) == set(get_args(TaskName))
    assert all(task.metrics for task in TASKS.values())


def test_xnli_has_two_spaces_before_its_label_and_one_text_a_label() -> None:
    assert xnli_item("7", XNLI) == ChoiceItem(
        "7",
        ("entailment", "neutral", "contradiction"),
        (
            "Il pleut. , right?  Yes , Le sol est sec.",
            "Il pleut. , right?  Also , Le sol est sec.",
            "Il pleut. , right?  No , Le sol est sec.",
        ),
        2,
    )


def test_xnli_labels_may_be_numbers_and_are_stored_as_the_file_has_them() -> None:
    for number in range(3):
        item = xnli_item("7", {**XNLI, "label": number})
        assert (item.candidates, item.gold) == (("0", "1", "2"), number)
        assert item.texts == xnli_item("7", XNLI).texts


@pytest.mark.parametrize("label", [3, -1, "yes", "-", None, True, 1.0, ["neutral"]])
def test_other_xnli_labels_are_errors(label: object) -> None:
    with pytest.raises(TaskFileError, match="wrong label"):
        xnli_item("7", {**XNLI, "label": label})


def test_marc_keeps_128_words_and_two_sides_of_the_stars() -> None:
    words = [f"w{number}" for number in range(200)]
    item = marc_item("a", {"text": "  ".join(words), "label": 4})
    assert item is not None
    start = " ".join(words[:128])
    assert item.texts == (f"{start} It is negative", f"{start} It is positive")
    assert item.candidates == ("negative", "positive")
    golds = [marc_item("a", {"text": "x", "label": stars}) for stars in (1, 2, 3, 4, 5)]
    assert [each and each.gold for each in golds] == [0, 0, None, 1, 1]


@pytest.mark.parametrize("label", [0, 6, "5", None])
def test_other_stars_are_errors(label: object) -> None:
    with pytest.raises(TaskFileError, match="wrong label"):
        marc_item("a", {"text": "x", "label": label})


def test_xcopa_joins_premise_and_choice() -> None:
    item = xcopa_item("1", XCOPA)
    assert item.texts == (
        "The man broke his toe because he dropped a hammer.",
        "The man broke his toe because éL cayó.",
    )
    assert item.candidates == ("He dropped a hammer.", "ÉL cayó.")
    assert xcopa_item("1", {**XCOPA, "question": "effect", "premise": "他打开水龙头。"}).texts[0] == (
        "他打开水龙头 so he dropped a hammer."
    )
    with pytest.raises(TaskFileError, match="unknown question"):
        xcopa_item("1", {**XCOPA, "question": "why"})
    with pytest.raises(TaskFileError, match="wrong label"):
        xcopa_item("1", {**XCOPA, "label": 2})


def test_paws_x_asks_for_a_paraphrase() -> None:
    row = {"sentence1": "A b.", "sentence2": "B a.", "label": 1}
    assert paws_x_item("1", row) == ChoiceItem("1", ("0", "1"), ("A b. right? No, B a.", "A b. right? Yes, B a."), 1)


def test_facts_fill_the_gap_and_leave_the_rest_as_it_is() -> None:
    item = facts_item("x", FACT)
    assert item.texts == ("paris est la capitale.", "Rome est la capitale.")
    assert (item.candidates, item.gold) == (("paris", "Rome"), 0)
    assert facts_item("x", {**FACT, "answer": "Rome"}).gold == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "no gap"}, "no gap"),
        ({"prompt": " "}, "empty or missing text"),
        ({"answer": 2}, "wrong answer"),
        ({"answer": -1}, "wrong answer"),
        ({"answer": True}, "wrong answer"),
        ({"answer": "Oslo"}, "no candidate"),
        ({"candidates": []}, "wrong candidates"),
        ({"candidates": "paris"}, "wrong candidates"),
        ({"candidates": ["paris", ""]}, "wrong candidates"),
    ],
)
def test_a_wrong_fact_is_an_error(change: dict[str, object], message: str) -> None:
    with pytest.raises(TaskFileError, match=message):
        facts_item("x", {**FACT, **change})


def test_empty_and_missing_texts_are_errors() -> None:
    for text in ("", " \n", None, 3):
        with pytest.raises(TaskFileError, match="text"):
            xnli_item("7", {**XNLI, "hypothesis": text})


def test_a_sentence_is_its_own_only_candidate() -> None:
    assert sentence_item("3", "Un.") == ChoiceItem("3", ("Un.",), ("Un.",), 0)


def test_prompts_are_english_where_a_template_adds_words() -> None:
    assert [prompt_language(task, "fr") for task in ("xnli", "translation", "facts", "perplexity")] == [
        "en",
        "en",
        "fr",
        "fr",
    ]
