"""Questions about entries, tasks, splits and languages that the recipe does not have."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import parse_recipe
from tests.valid_recipe import GOOD

GAIN: dict[str, Any] = {"name": "q", "variants": "wanda", "task": "facts", "languages": "fr"}
TRANSLATION = {"task": "translation", "languages": "fr-en"}


@pytest.mark.parametrize("changes", [{}, {"against": "random"}, {"variants": "both"}, TRANSLATION])
def test_a_question_may_be_about_any_evaluated_entry(changes: dict[str, Any]) -> None:
    recipe = parse_recipe({**GOOD, "questions": [{**GAIN, **changes}]}, folder=Path())
    assert recipe.questions[0].name == "q"


@pytest.mark.parametrize(
    ("questions", "parts"),
    [
        ([GAIN, GAIN], ["two questions have the same name: 'q'"]),
        ([{**GAIN, "variants": "wandaa"}], ["questions.0.variants", "nearest='wanda'"]),
        ([{**GAIN, "variants": "dense"}], ["questions.0.variants"]),
        ([{**GAIN, "against": "randm"}], ["questions.0.against", "nearest='random'"]),
        ([{**GAIN, "against": "wanda"}], ["questions.0.against"]),
        ([{**GAIN, "task": "xnli"}], ["questions.0.task", "facts"]),
        ([{**GAIN, "split": "dev"}], ["questions.0.split", "test"]),
        ([{**GAIN, "languages": "sw"}], ["questions.0.languages", "fr"]),
        ([{**GAIN, **TRANSLATION, "languages": "fr"}], ["questions.0.languages", "fr-en"]),
        ([{**GAIN, **TRANSLATION, "variants": "random"}], ["questions.0", "translation", "'random'"]),
        ([GAIN, {**GAIN, "name": "p", **TRANSLATION, "against": "random"}], ["questions.1", "'random'"]),
    ],
)
def test_a_question_that_the_recipe_cannot_answer_is_refused(questions: list[dict[str, Any]], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**GOOD, "questions": questions}, folder=Path())
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_mean_outside_english_needs_another_language() -> None:
    evaluations = [{"task": "facts", "path": "corpus", "languages": ["en"]}]
    question = {**GAIN, "languages": "outside_english"}
    with pytest.raises(RecipeError, match="no language outside English"):
        parse_recipe({**GOOD, "evaluations": evaluations, "questions": [question]}, folder=Path())
