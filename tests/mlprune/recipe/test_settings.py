"""Values of a recipe that a command line sets."""

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe.settings import with_settings
from tests.refusals import refused

RECIPE = {
    "name": "r",
    "evaluations": [{"task": "facts", "languages": ["en"]}, {"task": "xnli"}],
    "compute": None,
    "variants": [],
}


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("name=other", ["name"], "other"),
        ("evaluations.1.limit=50", ["evaluations", 1, "limit"], 50),
        ("evaluations.0.languages=[en, sw]", ["evaluations", 0, "languages"], ["en", "sw"]),
        ("evaluations.0.languages.0=sw", ["evaluations", 0, "languages", 0], "sw"),
        ("evaluations.0.template=a=b", ["evaluations", 0, "template"], "a=b"),
        ("compute.batch_tokens=64", ["compute", "batch_tokens"], 64),
        ("analyses.errors.on=true", ["analyses", "errors", "on"], True),
        ("variants=", ["variants"], None),
        ("structure=2:4", ["structure"], "2:4"),
    ],
)
def test_a_setting_changes_one_value_and_nothing_else(setting: str, path: list[str | int], value: object) -> None:
    before = repr(RECIPE)
    found: object = with_settings(RECIPE, [setting])
    for key in path:
        found = found[key]  # type: ignore[index]  # a mapping or a list
    assert found == value
    assert repr(RECIPE) == before


def test_a_later_setting_wins_and_sees_the_earlier_ones() -> None:
    changed = with_settings(RECIPE, ["a={b: 1}", "a.c=2", "name=x", "name=y"])
    assert (changed["a"], changed["name"]) == ({"b": 1, "c": 2}, "y")


@pytest.mark.parametrize(
    ("setting", "context"),
    [
        ("name", {"expected": "key=value"}),
        ("=1", {"expected": "key=value"}),
        ("name=[", {"got": "name=["}),
        ("name.first=x", {"key": "name", "expected": "a mapping or a list"}),
        ("evaluations.2.limit=5", {"key": "evaluations", "expected": "0 to 1"}),
        ("evaluations.facts.limit=5", {"key": "evaluations", "expected": "0 to 1"}),
        ("evaluations.-1.limit=5", {"key": "evaluations", "expected": "0 to 1"}),
        ("variants.0=5", {"key": "variants", "expected": "an entry"}),
        ("compute..x=5", {"key": "compute"}),
    ],
)
def test_a_setting_without_place_is_refused(setting: str, context: dict[str, str]) -> None:
    with refused(RecipeError, option="--set", **context):
        with_settings(RECIPE, [setting])
