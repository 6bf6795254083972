"""The example recipes are valid."""

from pathlib import Path

import pytest

from mlprune.planning import build_plan
from mlprune.recipe.loading import load_recipe
from tests.mlprune.capabilities.search.played_search import searched

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "infra" / "recipes").glob("*.yaml")) + sorted(
    (ROOT / "infra" / "recipes" / "real").glob("w*.yaml")
)


def test_there_are_examples() -> None:
    assert len(RECIPES) >= 2


@pytest.mark.thorough("runs recipes of its own")
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_an_example_recipe_is_accepted(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.variants or recipe.searches
    assert recipe.evaluations


def test_the_search_of_the_embedded_model_can_be_planned() -> None:
    plan = build_plan(load_recipe(ROOT / "infra" / "recipes" / "search.yaml"))
    blocks, _, scores = (search.spec for search in searched(plan).searches)
    assert blocks.space.n_points == 19
    assert blocks.space.units is not None
    assert blocks.space.units.uniform == (1, 1, 1, 1)
    assert scores.space.n_points == 6
    assert {count.n_items for count in blocks.items} == {206}
