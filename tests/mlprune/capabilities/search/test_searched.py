"""Entries whose schedule is the winner of a search: how a recipe names them, and that they come later."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search.keys import searched_entries
from mlprune.capabilities.search.searched import without_searched
from mlprune.errors import RecipeError
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from tests.search_recipes import search_recipe

SEARCHED: dict[str, Any] = {"name": "again", "score": "magnitude", "schedule": {"kind": "search", "from": "blocks"}}


def parse_search(recipe: dict[str, Any]) -> Recipe:
    return parse_recipe(recipe, folder=Path())


def recipe_with(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    recipe = search_recipe()
    return {**recipe, "variants": [*recipe.get("variants", ()), *entries], **changes}


def test_an_entry_needs_no_sparsity_and_is_planned_later() -> None:
    parsed = parse_search(recipe_with(SEARCHED))
    (entry,) = searched_entries(parsed.variants, "blocks")
    assert (entry.name, entry.sparsity, entry.schedule.source) == ("again", None, "blocks")
    assert searched_entries(parsed.variants, "other") == ()
    assert entry not in without_searched(parsed).variants


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        ({"kind": "search", "from": "block"}, ["nearest='blocks'"]),
        ({"kind": "search"}, ["need from"]),
        ({"kind": "search", "from": "blocks", "group": "all"}, ["group does not apply to schedule search"]),
    ],
)
def test_a_schedule_names_a_search(schedule: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_search(recipe_with({**SEARCHED, "schedule": schedule}))
    text = str(caught.value)
    assert all(part in text for part in parts)


def test_a_search_without_levels_cannot_be_a_schedule() -> None:
    recipe = recipe_with(SEARCHED)
    search = {key: value for key, value in recipe["searches"][0].items() if key not in ("levels", "base")}
    recipe["searches"] = [{**search, "base": {"score": "magnitude"}, "space": {"sparsity": [0.25, 0.5]}, "compare": []}]
    with pytest.raises(RecipeError, match="search blocks has no levels"):
        parse_search(recipe)


def test_nothing_but_evaluations_names_an_entry_that_comes_later() -> None:
    plain = {"name": "plain", "score": "magnitude", "sparsity": 0.5}
    for other in ({**plain, "against": ["again"]}, {"name": "u", "combine": "union", "of": ["plain", "again"]}):
        with pytest.raises(RecipeError, match="only evaluations can name it"):
            parse_search(recipe_with(SEARCHED, plain, {**other, "name": "other"}))
    errors = {"demonstrations": ["mt"], "variants": ["again"]}
    for analyses in ({"neuron_variants": ["again"]}, {"layer_errors": errors}):
        with pytest.raises(RecipeError, match="only evaluations can name it"):
            parse_search(recipe_with(SEARCHED, plain, analyses=analyses))
    assert parse_search(recipe_with({**SEARCHED, "against": ["plain"]}, plain)).variants


def test_a_search_with_a_total_refuses_another_sparsity() -> None:
    recipe = recipe_with({**SEARCHED, "sparsity": 0.3})
    levels = {"per": "block", "values": [0.25, 0.5, 0.75], "total": 0.5}
    recipe["searches"] = [{**recipe["searches"][0], "levels": levels}]
    with pytest.raises(RecipeError, match="got sparsity"):
        parse_search(recipe)
