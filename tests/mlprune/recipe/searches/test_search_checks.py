"""Searches that clash with other sections."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import parse_recipe
from tests.search_recipes import BASE, SEARCH, search_recipe, sensitivity_recipe


def error_of(recipe: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(recipe, folder=Path())
    return str(caught.value)


@pytest.mark.parametrize("name", ["blocks", "blocks-uniform", "blocks-owl"])
def test_the_names_of_a_search_and_its_comparators_are_free(name: str) -> None:
    variant = {"name": name, "score": "magnitude", "sparsity": 0.5}
    assert repr(name) in error_of({**search_recipe(), "variants": [variant]})


def test_two_searches_have_different_names() -> None:
    assert "'blocks'" in error_of({**search_recipe(), "searches": [SEARCH, SEARCH]})


def test_a_search_and_an_analysis_have_different_names() -> None:
    analysis = sensitivity_recipe(name="blocks")["sensitivity"]
    assert "'blocks'" in error_of({**search_recipe(), "sensitivity": analysis})


def test_the_sets_of_a_space_are_known() -> None:
    base = {key: value for key, value in BASE.items() if key != "demonstrations"}
    space = {"demonstrations": ["mt", "nt"]}
    assert "searches.0.space.demonstrations" in error_of(search_recipe(base=base, space=space))
    over = {**base, "over": ["mt", "nt"], "aggregate": "mean"}
    assert "searches.0.base.over" in error_of(search_recipe(base=over))
