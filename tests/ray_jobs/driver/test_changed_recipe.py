"""Recipes that options of the command line change."""

from pathlib import Path

import pytest

from mlprune.errors import ModelError
from mlprune.plan import build_plan
from mlprune.recipe import load_recipe
from ray_jobs.driver.changed_recipe import DEMO_MODEL, NO_CHANGES, RecipeChanges, load_changed_recipe, recipe_text
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


def test_the_text_of_a_recipe_contains_its_base_and_the_options_that_changed_it(own_inputs: Path) -> None:
    write_recipe(own_inputs, {**small_recipe(), "name": "of the base"}, name="base.yaml")
    variants = [{"name": "n-m", "score": "magnitude", "structure": "2:4"}]
    path = write_recipe(own_inputs, {"base": "base.yaml", "name": "own", "variants": variants})
    text = recipe_text(path, RecipeChanges(shrink=2, model="demo"))
    assert text.startswith('# run with --shrink 2 --model "demo"\n')
    (own_inputs / "copy.yaml").write_text(text)
    assert load_recipe(own_inputs / "copy.yaml") == load_recipe(path)
    assert (
        recipe_text({"name": "n", "path": Path("x"), "of": ("a", 1)}, NO_CHANGES) == "name: n\npath: x\nof:\n- a\n- 1\n"
    )
