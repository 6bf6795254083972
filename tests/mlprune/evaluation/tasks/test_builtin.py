"""Tasks of the package and of templates: exact texts, and checks of rows and descriptions."""

from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.descriptions import TemplateTask
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
from mlprune.evaluation.tasks.task import prompt_language, template_task, with_prompts
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


def test_marc_keeps_128_words_and_leaves_out_three_stars() -> None:
    words = [f"w{number}" for number in range(200)]
    item = marc_item("a", {"text": "  ".join(words), "label": 4})
    assert item is not None
    start = " ".join(words[:128])
    assert item.texts == (f"{start} It is negative", f"{start} It is positive")
    assert item.candidates == ("negative", "positive")
    golds = [marc_item("a", {"text": "x", "label": stars}) for stars in (1, 2, 3, 4, 5)]
    assert [each and each.gold for each in golds] == [0, 0, None, 1, 1]


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


def test_belebele_scores_the_answers_after_passage_and_question() -> None:
    for answer in ("4", 4):
        item = belebele_item("1", {**PASSAGE, "correct_answer_num": answer})
        assert item.texts[0] == "It rained. What fell? a1"
        assert (item.candidates, item.gold) == (("a1", "a2", "a3", "a4"), 3)


def test_five_way_marc_keeps_all_stars_with_a_word_each() -> None:
    items = [marc_five_item("a", {"text": "Bon livre", "label": stars}) for stars in range(1, 6)]
    assert [item.gold for item in items] == [0, 1, 2, 3, 4]
    assert items[0].candidates == ("1", "2", "3", "4", "5")
    assert items[0].texts[2] == "Bon livre It is okay"


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


def test_include_has_the_tags_of_its_44_languages() -> None:
    assert len(INCLUDE_TAGS) == len(set(INCLUDE_TAGS.values())) == 44
    assert (INCLUDE_TAGS["North Macedonian"], INCLUDE_TAGS["Bengali"]) == ("mk", "bn")
    data = TASKS["include"].dataset
    assert data is not None
    assert data.patterns("mk", "dev") == [("North Macedonian/validation-*.parquet",)]


SPANS = {"context": "Ann met Bo.", "question": "Who met Bo?", "candidates": ["Bo", "Ann"], "answer": "Ann"}


def test_spans_of_a_paragraph_are_the_candidates_of_its_questions() -> None:
    item = xquad_item("5a", SPANS)
    assert item.texts == ("Ann met Bo. Who met Bo? Bo", "Ann met Bo. Who met Bo? Ann")
    assert item.gold == 1


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
    ("to_item", "row", "key", "values"),
    [
        (xnli_item, XNLI, "label", [3, -1, "yes", "-", None, True, 1.0, ["neutral"]]),
        (xnli_item, XNLI, "hypothesis", ["", " \n", None, 3]),
        (marc_item, {"text": "x"}, "label", [0, 6, "5", None]),
        (marc_five_item, {"text": "x"}, "label", [6, "1"]),
        (xcopa_item, XCOPA, "question", ["why"]),
        (xcopa_item, XCOPA, "label", [2]),
        (xwinograd_item, WINOGRAD, "sentence", ["Ann left."]),
        (belebele_item, PASSAGE, "correct_answer_num", [0, 5, "0", "x", "²", "", None, True, 1.0]),
        (sib200_item, {"text": "x"}, "category", ["religion"]),
        (question_item, EXAM, "answer", ["E", "b", "", 4, -1, None, True]),
        (xquad_item, SPANS, "answer", ["Cy"]),
    ],
)
def test_a_wrong_value_is_refused_by_its_key(to_item: Any, row: dict[str, Any], key: str, values: list[Any]) -> None:
    for value in values:
        with refused(TaskFileError, key=key):
            to_item("7", {**row, key: value})


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "no gap"},
        {"prompt": "La <mask>, <mask> !"},
        {"prompt": 5},
        {"answer": 2},
        {"answer": -1},
        {"answer": True},
        {"answer": "Oslo"},
        {"candidates": []},
        {"candidates": "paris"},
        {"candidates": ["paris", ""]},
        {"candidates": ["Rome"]},
        {"candidates": ["Rome", "Rome"]},
    ],
)
def test_a_fact_has_one_gap_different_candidates_and_one_of_them_as_its_answer(change: dict[str, Any]) -> None:
    with pytest.raises(TaskFileError):
        facts_item("x", {**FACT, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"question_polarity": "positive"},
        {"answer_info": {}},
        {"answer_info": {"ans0": ["a"], "ans1": ["b", "c"], "ans2": ["d", "e"]}},
        {"answer_info": {f"ans{n}": ["a", "old"] for n in range(3)}},
        {"additional_metadata": None},
        {"label": 3},
    ],
)
def test_questions_without_stated_groups_are_errors(change: dict[str, Any]) -> None:
    with pytest.raises(TaskFileError):
        mbbq_item("SES:1", {**MBBQ, **change})


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
    "values",
    [
        {"template": "{text} Mood:"},
        {"template": "{candidate} {candidate}"},
        {"template": "{candidate} {0}"},
        {"template": "{candidate} {text.x}"},
        {"template": "{candidate} {text!r}"},
        {"template": "{candidate} {text"},
        {"labels": ()},
        {"candidates": "options"},
        {"labels": ("0",), "words": ()},
        {"labels": ("0", "0")},
        {"words": ("sad",)},
    ],
)
def test_a_wrong_description_is_an_error_that_names_the_task(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        TemplateTask(**{**vars(MOOD), **values})
    (error,) = caught.value.errors()
    assert error["ctx"]["context"]["task"] == "mood"
