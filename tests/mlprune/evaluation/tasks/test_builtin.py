"""Exact templates, and checks of rows."""

from typing import Any

import pytest

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.builtin.belebele import belebele_item
from mlprune.evaluation.tasks.builtin.exam_questions import INCLUDE_TAGS, question_item
from mlprune.evaluation.tasks.builtin.facts import facts_item
from mlprune.evaluation.tasks.builtin.marc import marc_five_item, marc_item
from mlprune.evaluation.tasks.builtin.mbbq import mbbq_item
from mlprune.evaluation.tasks.builtin.multiblimp import multiblimp_item
from mlprune.evaluation.tasks.builtin.paws_x import paws_x_item
from mlprune.evaluation.tasks.builtin.sib200 import sib200_item
from mlprune.evaluation.tasks.builtin.xcopa import XCOPA_WORDS, xcopa_item
from mlprune.evaluation.tasks.builtin.xnli import XNLI_WORDS, xnli_item
from mlprune.evaluation.tasks.builtin.xquad_spans import xquad_item
from mlprune.evaluation.tasks.builtin.xstory_cloze import xstory_cloze_item
from mlprune.evaluation.tasks.builtin.xwinograd import xwinograd_item
from mlprune.evaluation.tasks.items import ChoiceItem, sentence_item
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import prompt_language, with_prompts
from mlprune.vocabulary import TASK_TRAITS
from tests.refusals import refused

XNLI = {"premise": "Il pleut.", "hypothesis": "Le sol est sec.", "label": "contradiction"}
XCOPA = {
    "premise": "The man broke his toe.",
    "choice1": "He dropped a hammer.",
    "choice2": "ÉL cayó.",
    "question": "cause",
    "label": 0,
}
FACT = {"prompt": "<mask> est la capitale.", "candidates": ["paris", "Rome"], "answer": 0}


def test_every_task_has_a_name_a_registry_entry_traits_and_metrics() -> None:
    assert list(TASKS) == list(TASK_TRAITS)
    assert all(task.metrics for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_the_traits_of_a_task_are_those_that_recipes_rely_on(name: str) -> None:
    task = TASKS[name]
    assert task.traits == TASK_TRAITS[name]
    assert task.traits.has_native_prompts == bool(task.native)
    assert task.traits.reads_parallel_text == (task.to_item is None)


def test_xnli_has_two_spaces_before_its_label_and_one_text_per_label() -> None:
    assert xnli_item("7", XNLI) == ChoiceItem(
        "7",
        ("entailment", "neutral", "contradiction"),
        (
            "Il pleut. , right?  Yes , Le sol est sec.",
            "Il pleut. , right?  Also , Le sol est sec.",
            "Il pleut. , right?  No , Le sol est sec.",
        ),
        2,
        (len("Il pleut. , right?  "),) * 3,
    )


def test_xnli_labels_may_be_numbers_and_are_stored_as_the_file_has_them() -> None:
    for number in range(3):
        item = xnli_item("7", {**XNLI, "label": number})
        assert (item.candidates, item.gold) == (("0", "1", "2"), number)
        assert item.texts == xnli_item("7", XNLI).texts


@pytest.mark.parametrize("label", [3, -1, "yes", "-", None, True, 1.0, ["neutral"]])
def test_other_xnli_labels_are_errors(label: object) -> None:
    with refused(TaskFileError, key="label"):
        xnli_item("7", {**XNLI, "label": label})


def test_marc_keeps_128_words_and_leaves_out_three_stars() -> None:
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
    with refused(TaskFileError, key="label"):
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
    with refused(TaskFileError, key="question", expected=("cause", "effect")):
        xcopa_item("1", {**XCOPA, "question": "why"})
    with refused(TaskFileError, key="label", expected="a whole number from 0 to 1"):
        xcopa_item("1", {**XCOPA, "label": 2})


def test_paws_x_asks_for_a_paraphrase() -> None:
    row = {"sentence1": "A b.", "sentence2": "B a.", "label": 1}
    assert paws_x_item("1", row) == ChoiceItem(
        "1", ("0", "1"), ("A b. right? No, B a.", "A b. right? Yes, B a."), 1, (len("A b. right? "),) * 2
    )


def test_facts_fill_only_the_gap() -> None:
    item = facts_item("x", FACT)
    assert item.texts == ("paris est la capitale.", "Rome est la capitale.")
    assert (item.candidates, item.gold) == (("paris", "Rome"), 0)
    assert facts_item("x", {**FACT, "answer": "Rome"}).gold == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "no gap"}, "no gap"),
        ({"prompt": 5}, "empty or missing text"),
        ({"answer": 2}, "wrong answer"),
        ({"answer": -1}, "wrong answer"),
        ({"answer": True}, "wrong answer"),
        ({"answer": "Oslo"}, "not a candidate"),
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
        with refused(TaskFileError, key="hypothesis", expected="a text"):
            xnli_item("7", {**XNLI, "hypothesis": text})


def test_a_sentence_is_its_own_only_candidate() -> None:
    assert sentence_item("3", "Un.") == ChoiceItem("3", ("Un.",), ("Un.",), 0)


def test_every_text_is_its_context_and_a_candidate_part() -> None:
    for item in (
        xnli_item("1", XNLI),
        xcopa_item("1", XCOPA),
        facts_item("1", {**FACT, "prompt": "La <mask>, enfin !"}),
        xwinograd_item("1", WINOGRAD),
    ):
        contexts = {text[:start] for text, start in zip(item.texts, item.starts, strict=True)}
        parts = [text[start:] for text, start in zip(item.texts, item.starts, strict=True)]
        assert len(contexts) == 1
        assert len(set(parts)) == len(item.candidates)
    assert parts == ["Ann left.", "the dog left."]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "La <mask>, <mask> !"}, "several gaps"),
        ({"prompt": "La mer"}, "no gap"),
        ({"candidates": ["Rome"], "answer": 0}, "nothing to choose"),
        ({"candidates": ["Rome", "Rome"], "answer": 0}, "nothing to choose"),
    ],
)
def test_a_fact_has_one_gap_and_different_candidates(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskFileError, match=message):
        facts_item("1", {**FACT, **changes})


STORY = {
    **{f"input_sentence_{number}": f"S{number}." for number in range(1, 5)},
    "sentence_quiz1": "Good.",
    "sentence_quiz2": "Bad. ",
    "answer_right_ending": 2,
}
WINOGRAD = {"sentence": "Ann saw the dog, and _ left.", "option1": "Ann", "option2": "the dog", "answer": "1"}
PASSAGE = {
    "flores_passage": "It rained. ",
    "question": "What fell?",
    **{f"mc_answer{number}": f"a{number}" for number in range(1, 5)},
    "correct_answer_num": "4",
}


def test_stories_end_in_one_of_two_ways() -> None:
    item = xstory_cloze_item("1", STORY)
    assert item.texts == ("S1. S2. S3. S4. Good.", "S1. S2. S3. S4. Bad.")
    assert (item.candidates, item.gold, item.starts) == (("Good.", "Bad."), 1, (16, 16))


def test_winograd_options_fill_the_gap() -> None:
    item = xwinograd_item("1", WINOGRAD)
    assert item.texts == ("Ann saw the dog, and Ann left.", "Ann saw the dog, and the dog left.")
    assert (item.candidates, item.gold) == (("Ann", "the dog"), 0)
    with refused(TaskFileError, key="sentence", expected="_"):
        xwinograd_item("1", {**WINOGRAD, "sentence": "Ann left."})


def test_belebele_scores_the_answers_after_passage_and_question() -> None:
    item = belebele_item("1", PASSAGE)
    assert item.texts[0] == "It rained. What fell? a1"
    assert (item.candidates, item.gold) == (("a1", "a2", "a3", "a4"), 3)


@pytest.mark.parametrize("answer", [0, 5, "0", "x", "²", "", None, True, 1.0])
def test_answers_counted_from_one_are_in_range(answer: object) -> None:
    assert belebele_item("1", {**PASSAGE, "correct_answer_num": 4}).gold == 3
    with refused(TaskFileError, key="correct_answer_num"):
        belebele_item("1", {**PASSAGE, "correct_answer_num": answer})


def test_five_way_marc_keeps_all_stars_with_a_word_each() -> None:
    items = [marc_five_item("a", {"text": "Bon livre", "label": stars}) for stars in range(1, 6)]
    assert [item.gold for item in items] == [0, 1, 2, 3, 4]
    assert items[0].candidates == ("1", "2", "3", "4", "5")
    assert items[0].texts[2] == "Bon livre It is okay"
    with refused(TaskFileError, key="label", expected="a whole number from 1 to 5"):
        marc_five_item("a", {"text": "x", "label": 6})


def test_a_number_that_is_a_text_is_refused_as_a_text() -> None:
    with refused(TaskFileError, expected="a whole number from 1 to 5, not a text"):
        marc_five_item("a", {"text": "x", "label": "1"})


def test_native_prompts_are_in_the_language_and_native_english_equals_the_default() -> None:
    xnli = {language: with_prompts(TASKS["xnli"], language=language, prompts="native") for language in ("fr", "en")}
    french, english = (xnli[language].to_item for language in ("fr", "en"))
    assert french is not None
    assert english is not None
    assert french("7", XNLI).texts[1] == "Il pleut. , correct?  Aussi , Le sol est sec."  # type: ignore[union-attr]
    assert english("7", XNLI) == xnli_item("7", XNLI)
    italian = with_prompts(TASKS["xcopa"], language="it", prompts="native").to_item
    assert italian is not None
    assert italian("7", XCOPA).texts[0].startswith("The man broke his toe perché ")  # type: ignore[union-attr]
    assert with_prompts(TASKS["xnli"], language="fr", prompts="en") is TASKS["xnli"]


def test_all_languages_of_xnli_have_native_words_that_differ_by_label() -> None:
    assert " ".join(sorted(XNLI_WORDS)) == "ar bg de el en es fr hi ru sw th tr ur vi zh"
    assert all(len(set(words.labels)) == 3 for words in XNLI_WORDS.values())
    assert all(words.cause != words.effect for words in XCOPA_WORDS.values())


def test_the_error_for_missing_native_prompts_lists_the_languages() -> None:
    with pytest.raises(TaskFileError) as caught:
        with_prompts(TASKS["xnli"], language="it", prompts="native")
    assert "fr" in caught.value.context["expected"]
    with refused(TaskFileError, expected="prompt_language: en", got="fr"):
        with_prompts(TASKS["marc"], language="fr", prompts="native")


def test_template_words_are_english_unless_native_ones_are_asked_for() -> None:
    names = ("xnli", "translation", "facts", "perplexity", "belebele")
    assert [prompt_language(TASKS[name], "fr") for name in names] == ["en", "en", "fr", "fr", "fr"]
    assert prompt_language(TASKS["xnli"], "fr", "native") == "fr"


def test_topics_have_words_and_keep_the_labels_of_the_files() -> None:
    item = sib200_item("5", {"text": " Il skie. ", "category": "science/technology"})
    assert item.texts[0] == "Il skie. The topic is science and technology"
    assert (len(item.candidates), item.candidates[item.gold]) == (7, "science/technology")
    with refused(TaskFileError, key="category", got="religion"):
        sib200_item("5", {"text": "x", "category": "religion"})


def test_minimal_pairs_are_whole_sentences_in_an_order_that_says_nothing() -> None:
    row = {"sen": "They see.", "wrong_sen": "They sees."}
    items = [multiblimp_item(f"en:{number}", row) for number in range(200)]
    assert all(item.texts[item.gold] == "They see." and set(item.texts) == set(row.values()) for item in items)
    assert 70 < sum(item.gold for item in items) < 130
    assert items[0].starts == ()


EXAM = {"question": " 1 + 1? ", "option_a": "1", "option_b": "2 ", "option_c": "3", "option_d": "4"}


@pytest.mark.parametrize("answer", ["B", 1])
def test_exam_questions_score_the_options_not_their_letters(answer: object) -> None:
    item = question_item("x", {**EXAM, "answer": answer})
    assert item.texts == ("1 + 1? 1", "1 + 1? 2", "1 + 1? 3", "1 + 1? 4")
    assert item.gold == 1


@pytest.mark.parametrize("answer", ["E", "b", "", 4, -1, None, True])
def test_other_answers_of_exams_are_errors(answer: object) -> None:
    with refused(TaskFileError, key="answer"):
        question_item("x", {**EXAM, "answer": answer})


def test_include_has_the_tags_of_its_44_languages() -> None:
    assert len(INCLUDE_TAGS) == len(set(INCLUDE_TAGS.values())) == 44
    assert (INCLUDE_TAGS["North Macedonian"], INCLUDE_TAGS["Bengali"]) == ("mk", "bn")
    data = TASKS["include"].dataset
    assert data is not None
    assert data.patterns("mk", "dev") == [("North Macedonian/validation-*.parquet",)]


def test_spans_of_a_paragraph_are_the_candidates_of_its_questions() -> None:
    row = {"context": "Ann met Bo.", "question": "Who met Bo?", "candidates": ["Bo", "Ann"], "answer": "Ann"}
    item = xquad_item("5a", row)
    assert item.texts == ("Ann met Bo. Who met Bo? Bo", "Ann met Bo. Who met Bo? Ann")
    assert item.gold == 1
    with refused(TaskFileError, key="answer", got="Cy"):
        xquad_item("5a", {**row, "answer": "Cy"})


MBBQ: dict[str, Any] = {
    "context": "A cook and a coder met.",
    "question": "Who lied?",
    "ans0": "The coder",
    "ans1": "Not known",
    "ans2": "The cook",
    "answer_info": {"ans0": ["coder", "highSES"], "ans1": ["Not known", "unknown"], "ans2": ["cook", "lowSES"]},
    "additional_metadata": {"stereotyped_groups": ["low SES"]},
    "question_polarity": "neg",
    "label": 1,
}


def test_answers_about_people_are_named_by_their_role() -> None:
    item = mbbq_item("SES:1", MBBQ)
    assert item.candidates == ("counter_biased", "unknown", "biased")
    assert item.texts[0] == "A cook and a coder met. Who lied? The coder"
    assert item.gold == 1
    assert mbbq_item("SES:1", {**MBBQ, "question_polarity": "nonneg"}).candidates == (
        "biased",
        "unknown",
        "counter_biased",
    )
    for groups in (["lowSES", "highSES"], ["other"]):
        row = {**MBBQ, "additional_metadata": {"stereotyped_groups": groups}}
        assert mbbq_item("SES:1", row).candidates == ("person 0", "unknown", "person 2")


def test_words_for_women_are_one_group_as_in_the_published_code() -> None:
    info = {"ans0": ["Anne", "M"], "ans1": ["?", "unknown"], "ans2": ["vrouw", "vrouw"]}
    row = {**MBBQ, "answer_info": info, "additional_metadata": {"stereotyped_groups": ["F"]}}
    assert mbbq_item("Gender_identity:1", row).candidates == ("counter_biased", "unknown", "biased")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question_polarity": "positive"}, "unknown polarity"),
        ({"answer_info": {}}, "wrong answer_info"),
        ({"answer_info": {"ans0": ["a"], "ans1": ["b", "c"], "ans2": ["d", "e"]}}, "wrong answer_info"),
        ({"answer_info": {f"ans{n}": ["a", "old"] for n in range(3)}}, "not one answer is unknown"),
        ({"additional_metadata": None}, "wrong stereotyped_groups"),
        ({"label": 3}, "wrong label"),
    ],
)
def test_questions_without_stated_groups_are_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskFileError, match=message):
        mbbq_item("SES:1", {**MBBQ, **change})
