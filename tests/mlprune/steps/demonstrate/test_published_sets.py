"""Sets of profile paper: those that its variants read, and those that the published code cannot make."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import parse_recipe
from mlprune.steps.demonstrate.published_sets import refuse_without_counterpart, with_published_sets
from tests.tiny_recipes import small_recipe

SIZES = {"shots": 2, "max_tokens": 48, "samples": 4}
PAIRS = {"kind": "translation", "source": "fr", "target": "en", **SIZES}


@pytest.mark.parametrize(
    "entry",
    [
        {**PAIRS, "paired": False},
        {**PAIRS, "samples": None, "token_budget": 60},
        {"kind": "text", "path": "a.txt", **SIZES},
    ],
)
def test_sets_without_a_published_counterpart_are_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    sets = [{"name": "published", **PAIRS}, {"name": "own", **entry}]
    recipe = parse_recipe({**small_recipe(), "demonstrations": sets, "variants": []}, folder=tmp_path)
    refuse_without_counterpart(recipe.demonstrations[0])
    with pytest.raises(RecipeError, match="the published code has no such demonstrations") as caught:
        refuse_without_counterpart(recipe.demonstrations[1])
    assert caught.value.context["demonstrations"] == "own"


def test_a_recipe_keeps_what_its_published_variants_read_with_all_parts(tmp_path: Path) -> None:
    names = ("a", "b", "unread")
    sets = [{"name": name, **PAIRS} for name in names] + [{"name": "mixed", "kind": "mixed", "parts": ["a", "b"]}]
    wanda = {"score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    variants = [{**wanda, "demonstrations": "unread"}, {**wanda, "demonstrations": "mixed", "profile": "paper"}]
    recipe = parse_recipe({**small_recipe(), "demonstrations": sets, "variants": variants}, folder=tmp_path)
    assert [entry.name for entry in with_published_sets(recipe).demonstrations] == ["a", "b", "mixed"]
