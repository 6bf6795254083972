"""Groups of languages in questions."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlprune.errors import RecipeError
from mlprune.recipe.loading import load_recipe, parse_recipe
from mlprune.recipe.questions import AskedLanguages, QuestionConfig, asked_languages
from tests.refusals import refused
from tests.valid_recipe import GOOD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outside_english", AskedLanguages("outside_english")),
        ("all", AskedLanguages("all")),
        ("worst", AskedLanguages("worst")),
        ("script:Arab", AskedLanguages("script", "Arab")),
        ("resource_class:2", AskedLanguages("resource_class", "2")),
        ("swh_Latn", AskedLanguages("language", "sw")),
        ("fra_Latn-eng_Latn", AskedLanguages("language", "fr-en")),
    ],
)
def test_a_group_is_named_by_its_kind_or_by_its_language(text: str, expected: AskedLanguages) -> None:
    assert asked_languages(text) == expected
    assert asked_languages(expected.text) == expected


@pytest.mark.parametrize("text", ["script:latin", "resource_class:6", "outside english", "x"])
def test_other_texts_are_no_group(text: str) -> None:
    with pytest.raises(ValueError, match="outside_english"):
        asked_languages(text)


GAIN: dict[str, Any] = {"name": "q", "variants": "wanda", "task": "facts", "languages": "outside_english"}


def question(**changes: Any) -> QuestionConfig:
    recipe = parse_recipe({**GOOD, "questions": [{**GAIN, **changes}]}, folder=Path())
    return recipe.questions[0]


def test_a_question_needs_only_its_variants_task_and_languages() -> None:
    result = question()
    assert (result.against.name, result.claim, result.over, result.split) == ("dense", "gain", "each", "test")
    assert (result.metric, result.margin, result.primary) == (None, None, True)


def test_languages_are_stored_tags() -> None:
    assert question(languages="eng_Latn").languages == "en"
    assert question(languages="fra_Latn").group.name == "fr"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"claim": "noninferior"}, ["questions.0", "noninferior needs a margin"]),
        ({"claim": "equivalent"}, ["equivalent needs a margin"]),
        ({"margin": 0.02}, ["margin does not apply to claim gain"]),
        ({"metric": "acuracy"}, ["questions.0.metric", "nearest='accuracy'"]),
        ({"metric": "bleu"}, ["questions.0.metric"]),
        ({"task": "fact"}, ["questions.0.task", "nearest='facts'"]),
        ({"languages": "script:latin"}, ["questions.0.languages", "script:Latn"]),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(changes: dict[str, Any], parts: list[str]) -> None:
    with refused(RecipeError) as caught:
        question(**changes)
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_questions_come_from_the_base_unless_the_recipe_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**GOOD, "questions": [GAIN]}), "utf-8")
    (tmp_path / "heir.yaml").write_text("base: base.yaml\n", "utf-8")
    own = {"base": "base.yaml", "questions": [{**GAIN, "name": "mine"}]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own), "utf-8")
    names = [[entry.name for entry in load_recipe(tmp_path / f"{name}.yaml").questions] for name in ("heir", "own")]
    assert names == [["q"], ["mine"]]


QUESTION_CHECKS_GAIN: dict[str, Any] = {"name": "q", "variants": "wanda", "task": "facts", "languages": "fr"}
TRANSLATION = {"task": "translation", "languages": "fr-en"}


@pytest.mark.parametrize("changes", [{}, {"against": "random"}, {"variants": "both"}, TRANSLATION])
def test_a_question_may_be_about_any_evaluated_entry(changes: dict[str, Any]) -> None:
    recipe = parse_recipe({**GOOD, "questions": [{**QUESTION_CHECKS_GAIN, **changes}]}, folder=Path())
    assert recipe.questions[0].name == "q"


@pytest.mark.parametrize(
    ("questions", "parts"),
    [
        ([QUESTION_CHECKS_GAIN, QUESTION_CHECKS_GAIN], ["two questions have the same name: 'q'"]),
        ([{**QUESTION_CHECKS_GAIN, "variants": "wandaa"}], ["questions.0.variants", "nearest='wanda'"]),
        ([{**QUESTION_CHECKS_GAIN, "variants": "dense"}], ["questions.0.variants"]),
        ([{**QUESTION_CHECKS_GAIN, "against": "randm"}], ["questions.0.against", "nearest='random'"]),
        ([{**QUESTION_CHECKS_GAIN, "against": "wanda"}], ["questions.0.against"]),
        ([{**QUESTION_CHECKS_GAIN, "against": {"name": "randm"}}], ["questions.0.against", "nearest='random'"]),
        ([{**QUESTION_CHECKS_GAIN, "against": {"name": "random", "ignore": ["seeds"]}}], ["questions.0.against"]),
        ([{**QUESTION_CHECKS_GAIN, "against": {"name": "dense", "ignore": ["seed"]}}], ["questions.0.against"]),
        ([{**QUESTION_CHECKS_GAIN, "task": "xnli"}], ["questions.0.task", "facts"]),
        ([{**QUESTION_CHECKS_GAIN, "split": "dev"}], ["questions.0.split", "test"]),
        ([{**QUESTION_CHECKS_GAIN, "languages": "sw"}], ["questions.0.languages", "fr"]),
        ([{**QUESTION_CHECKS_GAIN, **TRANSLATION, "languages": "fr"}], ["questions.0.languages", "fr-en"]),
        ([{**QUESTION_CHECKS_GAIN, **TRANSLATION, "variants": "random"}], ["questions.0", "translation", "'random'"]),
        (
            [QUESTION_CHECKS_GAIN, {**QUESTION_CHECKS_GAIN, "name": "p", **TRANSLATION, "against": "random"}],
            ["questions.1", "'random'"],
        ),
    ],
)
def test_a_question_that_the_recipe_cannot_answer_is_refused(questions: list[dict[str, Any]], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**GOOD, "questions": questions}, folder=Path())
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_mean_outside_english_needs_another_language() -> None:
    evaluations = [{"task": "facts", "path": "corpus", "languages": ["en"]}]
    question = {**QUESTION_CHECKS_GAIN, "languages": "outside_english"}
    with pytest.raises(RecipeError, match="no language outside English"):
        parse_recipe({**GOOD, "evaluations": evaluations, "questions": [question]}, folder=Path())
