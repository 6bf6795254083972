"""The example recipes are valid."""

from pathlib import Path

import pytest

from mlprune.recipe import load_recipe

RECIPES = sorted((Path(__file__).parents[1] / "infra" / "recipes").glob("*.yaml"))


def test_there_are_examples() -> None:
    assert len(RECIPES) >= 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_example_recipe_is_accepted(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.variants
    assert recipe.evaluations
