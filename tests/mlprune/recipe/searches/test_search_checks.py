"""Searches that clash with other sections."""

from collections.abc import Callable
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


@pytest.mark.parametrize("make", [search_recipe, sensitivity_recipe])
def test_a_name_that_stands_for_several_sets_is_refused(make: Callable[..., dict[str, Any]]) -> None:
    recipe = make()
    recipe["demonstrations"][0]["source"] = ["fr", "sw"]
    assert "base.demonstrations: every trial is one variant, which reads one set, got mt with 2 sets" in error_of(
        recipe
    )
    both = {**BASE, "over": ["mt", "code"], "aggregate": "mean"}
    del both["demonstrations"]
    together = make(base=both)
    together["demonstrations"].append({"name": "code", "kind": "code", "path": "code"})
    assert parse_recipe(together, folder=Path())
    together["demonstrations"][1]["seed"] = 1
    assert "reads sets of one seed, got mt and code with 2 seeds" in error_of(together)
