"""Sensitivity analyses of a recipe."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe.loading import parse_recipe
from tests.search_recipes import BASE, sensitivity_recipe


def test_single_values_stand_for_lists_and_blocks_are_the_default() -> None:
    (analysis,) = parse_recipe(sensitivity_recipe(), folder=Path()).sensitivity
    assert (analysis.by, analysis.sparsity, analysis.split) == (("block",), (0.5,), "dev")
    both = sensitivity_recipe(by=["layer", "block"], sparsity=[0.5, 0.7])
    (analysis,) = parse_recipe(both, folder=Path()).sensitivity
    assert (analysis.by, analysis.sparsity) == (("layer", "block"), (0.5, 0.7))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"base": {**BASE, "sparsity": 0.5}}, "sets the sparsity"),
        ({"base": {**BASE, "scope": {"blocks": [1]}}}, "sets the scope"),
        ({"base": {**BASE, "schedule": "owl"}}, "sets the schedule"),
        ({"base": {**BASE, "propagation": "sequential"}}, "need propagation: dense"),
        ({"base": {**BASE, "structure": "2:4"}, "sparsity": 0.7}, "structure 2:4"),
        ({"base": {**BASE, "scor": "x"}}, "key='sensitivity.0.base.scor'"),
        ({"base": {**BASE, "score": "wandaa"}}, "key='sensitivity.0.base.score'"),
        ({"base": {**BASE, "demonstrations": "x"}}, "key='sensitivity.0.base.demonstrations'"),
        ({"by": ["block", "block"]}, "different ones"),
        ({"tasks": ["facts"]}, "key='sensitivity.0.tasks'"),
        ({"split": "dv"}, "key='sensitivity.0.split'"),
        ({"tasks": ["perplexity"], "split": "dv"}, "key='sensitivity.0.split'"),
        ({"influence": "x"}, "key='sensitivity.0.influence'"),
        ({"influence": "mt"}, "'mt' of kind translation"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(sensitivity_recipe(**changes), folder=Path())
    assert part in str(caught.value)


def test_block_influence_is_measured_on_sets_of_one_language() -> None:
    recipe = sensitivity_recipe(influence=["fr"])
    recipe["demonstrations"].append({"name": "fr", "kind": "monolingual", "language": ["fr", "sw"]})
    assert parse_recipe(recipe, folder=Path()).sensitivity[0].influence == ("fr",)
