"""Reading of recipe files, their bases and plug-in files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.methods.plugins import provided_files
from mlprune.recipe.loading import load_recipe, parse_recipe, read_recipe_file
from tests.plugin_packages import CUBIC
from tests.refusals import refused
from tests.valid_recipe import GOOD, changed, with_keys
from tests.valid_recipe import parse as valid_recipe_parse

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
    with refused(RecipeError):
        read_recipe_file(path)


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


@pytest.mark.thorough("tries every key of a recipe")
def test_a_recipe_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("name: " + "[" * 20_000 + "]" * 20_000)
    with pytest.raises(RecipeError, match="nested too deeply"):
        read_recipe_file(tmp_path / "deep.yaml")


@pytest.mark.thorough("tries every key of a recipe")
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


@pytest.mark.thorough("tries every key of a recipe")
def test_repeated_keys_are_found_among_many(tmp_path: Path) -> None:
    """With a comparison of each key with each other one, this takes minutes."""
    (tmp_path / "r.yaml").write_text("".join(f"k{i}: 1\n" for i in range(6_000)))
    assert len(read_recipe_file(tmp_path / "r.yaml")) == 6_000
    with pytest.raises(RecipeError):
        load_recipe(tmp_path / "r.yaml")


def test_what_is_not_a_small_regular_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 30)
    for name in ("", "pipe", "large"):
        with pytest.raises(RecipeError):
            read_recipe_file(tmp_path / name)


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
    with refused(RecipeError, key="plugins") as raised:
        parse(folder, WITH_FILE, *allowed)
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
    with refused(RecipeError, key="variants.0.score"):
        parse(folder, WITH_FILE, "my_score.py")


@pytest.mark.parametrize(
    ("keys", "place", "nearest"),
    [
        ({"scope": {"blocs": [0]}}, "variants.0.scope.blocs", "blocks"),
        ({"scope": {"without_layer": ["fc1"]}}, "variants.0.scope.without_layer", "without_layers"),
        ({"schedule": {"kind": "owl", "spred": 0.1}}, "variants.0.schedule.spred", "spread"),
    ],
)
def test_an_unknown_key_in_a_section_of_a_variant_is_reported_with_the_keys_of_that_section(
    keys: dict[str, Any], place: str, nearest: str
) -> None:
    with refused(RecipeError, key=place, nearest=nearest) as caught:
        valid_recipe_parse(with_keys("variants.0", **keys))
    assert "sparsity" not in caught.value.context["expected"]


def test_an_unknown_key_in_activations_is_reported_with_the_keys_of_activations() -> None:
    with pytest.raises(RecipeError, match="unknown key") as caught:
        valid_recipe_parse(with_keys("demonstrations.0", activations={"bloks": [1], "quota_gib": 1}))
    context = caught.value.context
    assert (context["key"], context["nearest"]) == ("demonstrations.0.activations.bloks", "blocks")
    assert context["expected"] == ["blocks", "dtype", "inputs", "quota_gib", "samples"]


@pytest.mark.parametrize(("short", "full"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_short_names_of_dtypes_give_the_same_recipe(short: str, full: str) -> None:
    recipe = valid_recipe_parse(changed("model.dtype", short))
    assert recipe.model.dtype == full
    assert recipe == valid_recipe_parse(changed("model.dtype", full))


def test_a_dtype_that_is_not_text_is_refused() -> None:
    with refused(RecipeError, key="model.dtype"):
        valid_recipe_parse(changed("model.dtype", 16))


def test_further_complaints_are_counted() -> None:
    value = changed("model.dtype", "float64")
    value["corpus"]["lines"] = 0
    with refused(RecipeError, more_errors=1):
        valid_recipe_parse(value)


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    ("value", "key"),
    [
        (lambda number: with_keys("variants.0", score="ria", power=number), "variants.0.power"),
        (
            lambda number: with_keys("variants.0", structure="row", schedule={"kind": "owl", "m": number}),
            "variants.0.schedule.m",
        ),
        (lambda number: with_keys("variants.4", shares=[number, 1.0]), "variants.4.shares.0"),
        (lambda number: changed("compute.memory_gib_per_actor", number), "compute.memory_gib_per_actor"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_with_its_key(
    value: Callable[[float], dict[str, Any]], key: str, number: float
) -> None:
    with refused(RecipeError, key=key, expected="a finite number"):
        valid_recipe_parse(value(number))


def test_an_expected_number_is_described_by_its_bound() -> None:
    with refused(RecipeError, key="variants.0.power", expected="a number > 0"):
        valid_recipe_parse(with_keys("variants.0", score="ria", power=0.0))


def test_the_message_of_a_validator_is_the_message_of_the_error() -> None:
    with pytest.raises(RecipeError) as caught:
        valid_recipe_parse(changed("corpus.path", "texts"))
    assert caught.value.message == "path does not apply to kind cldr, only to parallel_text"
    assert caught.value.context == {"where": "recipe", "key": "corpus"}


def test_an_unknown_name_is_reported_with_the_index_of_its_entry() -> None:
    with pytest.raises(RecipeError) as caught:
        valid_recipe_parse(changed("variants.1.demonstrations", "mtt"))
    assert (caught.value.message, caught.value.context["key"]) == (
        "unknown name in demonstrations",
        "variants.1.demonstrations",
    )


CONTRACT = """\
name: xglm-fr-es
model: {path: facebook/xglm-564M, revision: main, dtype: float32}   # or a local directory
corpus: {kind: parallel_text, path: flores/}
demonstrations:
  - {name: fr-en, kind: translation, source: fr, target: en, shots: 4, samples: 100, max_tokens: 512, seed: 0}
  - {name: fr,    kind: monolingual, language: fr, shots: 4, samples: 100, max_tokens: 512, seed: 0}
  - {name: py,    kind: code, path: src/, samples: 100, max_tokens: 512, seed: 0}
variants:
  - {demonstrations: fr-en, score: wanda, sparsity: [0.1, 0.3, 0.5], structure: row, propagation: sequential}
  - {demonstrations: fr-en, contrast: py, score: contrast, sparsity: [0.3], structure: row, propagation: dense}
evaluations:
  - {task: xnli, path: xnli/, languages: [en, fr, es], split: test, limit: 1000}
compute: {replicas: 1, shards: 1, memory_gib_per_actor: 6, batch_tokens: 4096}
"""


def test_the_recipe_of_the_documentation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(CONTRACT)
    recipe = load_recipe(path)
    assert [(one.score, one.sparsity) for one in recipe.variants] == [
        ("wanda", 0.1),
        ("wanda", 0.3),
        ("wanda", 0.5),
        ("contrast", 0.3),
    ]
    assert recipe.resolve("flores/") == tmp_path / "flores"
    assert recipe.resolve("/data/x") == Path("/data/x")
    assert (recipe.compute.replicas, recipe.compute.planned_batch_tokens("cpu", None)) == (1, 4096)
    assert recipe.evaluations[0].languages == ("en", "fr", "es")


def test_n_of_m_needs_no_quotation_marks(tmp_path: Path) -> None:
    text = CONTRACT.replace("sparsity: [0.1, 0.3, 0.5], structure: row", "structure: [2:4, 4:8]")
    assert text != CONTRACT
    (tmp_path / "r.yaml").write_text(text)
    assert [one.structure for one in load_recipe(tmp_path / "r.yaml").variants[:2]] == ["2:4", "4:8"]


def test_yaml_anchors_and_merges_still_work(tmp_path: Path) -> None:
    text = CONTRACT.replace("  - {name: fr, ", "  - &mono {name: fr, ")
    text = text.replace("variants:\n", "  - {<<: *mono, name: es, language: es}\nvariants:\n")
    (tmp_path / "r.yaml").write_text(text)
    assert [one.language for one in load_recipe(tmp_path / "r.yaml").demonstrations] == [None, "fr", None, "es"]


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ["not a mapping"]),
        (b"# only a comment\n", ["not a mapping"]),
        (b"- name: x\n- model: y\n", ["not a mapping"]),
        (b"just text", ["not a mapping"]),
        (b"name: [1, 2\nmodel: {", ["not YAML"]),
        (b"name: x\n\tmodel: y\n", ["not YAML"]),
        (b"name: \xff\xfe", ["not YAML"]),
        (b"name: !!python/object/apply:os.getcwd []\n", ["not YAML"]),
        (b"name: a\nname: b\n", ["not YAML", "key name occurs twice in", "line 1, column 1"]),
        (b"name: a\nmodel: {path: a, path: b}\n", ["key path occurs twice in", "line 2, column 8"]),
        (b"1: 2\n", ["a key is missing", "key='name'"]),
        (b"name: 2024-01-01\nmodel: {path: m}\ncorpus: {kind: cldr}\n", ["key='name'", "got='date'"]),
    ],
)
def test_a_file_that_is_not_a_recipe_is_reported_in_one_line(tmp_path: Path, content: bytes, parts: list[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    text = str(caught.value)
    assert str(path) in text
    for part in parts:
        assert part in text
    assert "\\n" not in text


@pytest.mark.parametrize("place", [lambda folder: folder / "none.yaml", lambda folder: folder])
def test_a_recipe_that_is_not_there_ends_with_one_line(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(place(tmp_path))
    assert caught.value.context["path"] == str(place(tmp_path))
