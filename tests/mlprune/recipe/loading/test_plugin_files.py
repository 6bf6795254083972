"""A recipe's plug-in files run only if the command line names the same files."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.methods.plugins import provided_files
from mlprune.recipe import parse_recipe
from tests.plugin_packages import CUBIC
from tests.valid_recipe import GOOD, changed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_score.py").write_text(CUBIC, encoding="utf-8")
    return tmp_path


def parse(folder: Path, value: dict[str, Any], *allowed: str) -> Any:
    return parse_recipe(value, folder=folder, allowed_plugins=[folder / name for name in allowed])


WITH_FILE = {**changed("variants.0.score", "cubic"), "plugins": ["my_score.py"]}


def test_a_file_that_recipe_and_command_line_name_is_used(folder: Path) -> None:
    recipe = parse(folder, WITH_FILE, "my_score.py")
    assert recipe.plugins == ("my_score.py",)
    assert recipe.variants[0].needs == ("squares",)
    assert recipe.variants[0].group == "row"
    assert recipe.variants[0].score_source.file == "my_score.py"


def test_another_way_to_write_the_path_is_the_same_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    parse_recipe(WITH_FILE, folder=folder, allowed_plugins=[Path("./my_score.py")])
    parse_recipe(
        {**WITH_FILE, "plugins": [str(folder / "my_score.py")]}, folder=Path(), allowed_plugins=[Path("my_score.py")]
    )


@pytest.mark.parametrize("allowed", [(), ("other.py",)])
def test_a_file_that_is_not_allowed_is_refused_before_its_code_runs(folder: Path, allowed: tuple[str, ...]) -> None:
    (folder / "my_score.py").write_text("raise AssertionError('it runs')")
    with pytest.raises(RecipeError) as raised:
        parse(folder, WITH_FILE, *allowed)
    assert raised.value.context["key"] == "plugins"
    assert f"--allow-plugins {folder / 'my_score.py'}" in str(raised.value.context["next"])
    assert not provided_files()


def test_an_allowed_file_that_the_recipe_does_not_name_is_not_used(folder: Path) -> None:
    with pytest.raises(RecipeError, match="unknown score"):
        parse(folder, changed("variants.0.score", "cubic"), "my_score.py")


def test_a_file_is_not_run_for_built_in_methods(folder: Path) -> None:
    (folder / "my_score.py").write_text("raise AssertionError('it runs')")
    assert parse(folder, {**GOOD, "plugins": ["my_score.py"]}, "my_score.py").variants


@pytest.mark.parametrize("files", ["my_score.py", [3], [""], {"my_score.py": True}])
def test_plugins_is_a_list_of_files(folder: Path, files: object) -> None:
    with pytest.raises(RecipeError, match="list of files"):
        parse(folder, {**GOOD, "plugins": files}, "my_score.py")


def test_a_missing_or_broken_file_is_one_line(folder: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        parse(folder, {**GOOD, "plugins": ["missing.py"]}, "missing.py")
    (folder / "my_score.py").write_text("def broken(:")
    with pytest.raises(RecipeError, match="SyntaxError") as raised:
        parse(folder, WITH_FILE, "my_score.py")
    assert raised.value.context["key"] == "variants.0.score"
    assert "\n" not in str(raised.value)
