"""Recipe files with the sections of a base."""

import os
from pathlib import Path

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import load_recipe
from mlprune.recipe.loading import read_recipe_file

COMMON = "corpus: {kind: cldr}\nvariants: [{score: magnitude, sparsity: [0.1, 0.2]}]\nname: common\n"


def write_files(folder: Path, **files: str) -> Path:
    """Write `<name>.yaml` files; the path of the last one."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{list(files)[-1]}.yaml"


def test_a_recipe_takes_the_sections_that_it_does_not_have(tmp_path: Path) -> None:
    path = write_files(tmp_path, common=COMMON, own="base: common.yaml\nname: own\nmodel: {path: m}\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.model.path, recipe.corpus.kind, recipe.folder) == ("own", "m", "cldr", tmp_path)
    assert [variant.sparsity for variant in recipe.variants] == [0.1, 0.2]


def test_a_section_replaces_the_whole_section_of_the_base_and_bases_chain(tmp_path: Path) -> None:
    middle = "base: common.yaml\nvariants: [{score: magnitude, sparsity: 0.5}]\n"
    path = write_files(tmp_path, common=COMMON, middle=middle, own="base: middle.yaml\nmodel: {path: m}\n")
    recipe = load_recipe(path)
    assert recipe.name == "common"
    assert [variant.sparsity for variant in recipe.variants] == [0.5]


@pytest.mark.parametrize(
    "name", ["../common.yaml", "folder/common.yaml", "/etc/hostname", "", "3", "[common.yaml]", "."]
)
def test_a_base_is_a_file_in_the_same_folder(tmp_path: Path, name: str) -> None:
    path = write_files(tmp_path, own=f"base: {name}\nname: own\n")
    with pytest.raises(RecipeError) as caught:
        read_recipe_file(path)
    assert "\n" not in str(caught.value)


def test_a_recipe_cannot_be_its_own_base(tmp_path: Path) -> None:
    path = write_files(tmp_path, a="base: b.yaml\n", b="base: c.yaml\n", c="base: b.yaml\n")
    with pytest.raises(RecipeError, match=r"c.yaml -> b.yaml -> c.yaml"):
        read_recipe_file(path)
    with pytest.raises(RecipeError, match=r"c.yaml -> c.yaml"):
        read_recipe_file(write_files(tmp_path, c="base: c.yaml\n"))


def test_an_error_in_the_base_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nothing.yaml"):
        read_recipe_file(write_files(tmp_path, own="base: nothing.yaml\n"))
    with pytest.raises(RecipeError, match=r"list.yaml"):
        read_recipe_file(write_files(tmp_path, list="[1]", own="base: list.yaml\n"))


def test_a_recipe_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("name: " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(RecipeError, match="nested too deeply"):
        read_recipe_file(tmp_path / "deep.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "name: 2001-99-99",
        "name: " + "7" * 5_000,
        "name: 0x" + "f" * 5_000,
        "name: !!int abc",
        "name: !!float abc",
        "name: !!bool foo",
        "name: !!timestamp abc",
        "name: !!binary abcde",
        "name: &a [*a]",
        "name: &a {b: *a}",
        "a0: &a0 [1, 2]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
        "".join(f"key_{i}: 1\n" for i in range(5_000)) + "key_0: 1",
    ],
    ids=lambda text: text[:20].splitlines()[0],
)
def test_values_that_cannot_be_read_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        read_recipe_file(tmp_path / "r.yaml")
    assert len(str(caught.value)) < 2_000


def test_repeated_keys_are_found_among_many(tmp_path: Path) -> None:
    """With a comparison of each key with each other one, this takes minutes."""
    (tmp_path / "r.yaml").write_text("".join(f"k{i}: 1\n" for i in range(30_000)))
    assert len(read_recipe_file(tmp_path / "r.yaml")) == 30_000
    with pytest.raises(RecipeError):
        load_recipe(tmp_path / "r.yaml")


def test_what_is_not_a_small_regular_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 30)
    for name in ("", "pipe", "large"):
        with pytest.raises(RecipeError):
            read_recipe_file(tmp_path / name)
