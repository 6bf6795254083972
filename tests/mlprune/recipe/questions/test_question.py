"""Questions of a recipe: defaults, and entries that contradict themselves."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mlprune.errors import RecipeError
from mlprune.recipe import QuestionConfig, load_recipe, parse_recipe
from tests.valid_recipe import GOOD

GAIN: dict[str, Any] = {"name": "q", "variants": "wanda", "task": "facts", "languages": "outside_english"}


def question(**changes: Any) -> QuestionConfig:
    recipe = parse_recipe({**GOOD, "questions": [{**GAIN, **changes}]}, folder=Path())
    return recipe.questions[0]


def test_a_question_needs_only_its_variants_task_and_languages() -> None:
    result = question()
    assert (result.against, result.claim, result.over, result.split) == ("dense", "gain", "each", "test")
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
        ({"claim": "noninferior", "margin": 0}, ["questions.0.margin", "> 0"]),
        ({"claim": "noninferior", "margin": 2}, ["questions.0.margin", "< 1"]),
        ({"claim": "better"}, ["questions.0.claim"]),
        ({"over": "all"}, ["questions.0.over"]),
        ({"metric": "acuracy"}, ["questions.0.metric", "nearest='accuracy'"]),
        ({"metric": "bleu"}, ["questions.0.metric"]),
        ({"task": "fact"}, ["questions.0.task", "nearest='facts'"]),
        ({"languages": "script:latin"}, ["questions.0.languages", "script:Latn"]),
        ({"margins": 0.1}, ["unknown key", "questions.0.margins", "nearest='margin'"]),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        question(**changes)
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


def test_questions_come_from_the_base_unless_the_recipe_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(yaml.safe_dump({**GOOD, "questions": [GAIN]}), "utf-8")
    (tmp_path / "heir.yaml").write_text("base: base.yaml\n", "utf-8")
    own = {"base": "base.yaml", "questions": [{**GAIN, "name": "mine"}]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own), "utf-8")
    names = [[entry.name for entry in load_recipe(tmp_path / f"{name}.yaml").questions] for name in ("heir", "own")]
    assert names == [["q"], ["mine"]]
