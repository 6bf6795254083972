"""Recipes that options of the command line change."""

from pathlib import Path

import pytest

from mlprune.errors import ModelError
from mlprune.plan import build_plan
from ray_jobs.driver.changed_recipe import DEMO_MODEL, NO_CHANGES, RecipeChanges, load_changed_recipe
from tests.tiny_recipes import small_recipe, write_recipe


def test_without_options_the_recipe_is_unchanged(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    recipe = load_changed_recipe(path, NO_CHANGES)
    assert (recipe.name, recipe.model.path) == ("tiny", "model")


def test_a_smaller_recipe_on_the_embedded_model_has_a_name_and_ids_of_its_own(own_inputs: Path) -> None:
    small = small_recipe()
    small["demonstrations"][0]["max_tokens"] = 512
    path = write_recipe(own_inputs, small)
    recipe = load_changed_recipe(path, RecipeChanges(shrink=1, model="demo"))
    assert recipe.name == "tiny (shrink 1) (model demo)"
    assert recipe.model.path == str(DEMO_MODEL)
    assert [entry.max_tokens for entry in recipe.demonstrations] == [256]
    ids = {key for job in build_plan(recipe).jobs for key in job.makes}
    small["demonstrations"][0]["max_tokens"] = 48
    full = build_plan(load_changed_recipe(write_recipe(own_inputs, small), NO_CHANGES))
    assert not ids & {key for job in full.jobs for key in job.makes}


def test_the_path_of_another_model_starts_at_the_working_directory(
    own_inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(own_inputs, small_recipe())
    monkeypatch.chdir(own_inputs)
    recipe = load_changed_recipe(path, RecipeChanges(model="model"))
    assert recipe.model.path == str(own_inputs / "model")


def test_a_model_that_does_not_exist_is_one_line(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    with pytest.raises(ModelError, match="nothing") as caught:
        load_changed_recipe(path, RecipeChanges(model="./nothing"))
    assert "\n" not in str(caught.value)


def test_an_empty_model_is_not_the_working_directory(own_inputs: Path) -> None:
    path = write_recipe(own_inputs, small_recipe())
    with pytest.raises(ModelError, match=r"no model is named.*--model"):
        load_changed_recipe(path, RecipeChanges(model=""))
