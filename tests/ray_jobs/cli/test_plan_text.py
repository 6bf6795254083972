"""What `mlprune plan` says of a recipe, in words."""

from pathlib import Path

import pytest

from mlprune.errors import RecipeError
from ray_jobs.cli.plan_text import describe_plan
from tests.tiny_recipes import small_recipe, write_recipe


def with_activations(folder: Path, quota_gib: float) -> Path:
    recipe = small_recipe()
    recipe["demonstrations"][0]["activations"] = {"quota_gib": quota_gib}
    return write_recipe(folder, recipe, name="activations.yaml")


def test_the_plan_shows_what_raw_activations_may_take(own_inputs: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    found = describe_plan(with_activations(own_inputs, 0.25), store)
    assert "raw activations of mt: at most 0.000 GiB, quota 0.25 GiB" in found.splitlines()
    assert "raw activations" not in describe_plan(write_recipe(own_inputs, small_recipe()), store)


def test_a_plan_above_the_quota_is_refused_in_one_line(own_inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="larger than their quota") as caught:
        describe_plan(with_activations(own_inputs, 1e-6), str(tmp_path / "store"))
    assert "\n" not in str(caught.value)
