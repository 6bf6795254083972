"""Load recipes from files: YAML, lists that multiply out, `exclude`, and files that are not recipes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import expand_entry, load_recipe
from mlprune.recipe.loader import read_recipe_file
from tests.valid_recipe import changed, parse, with_keys

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
    assert (recipe.compute.replicas, recipe.compute.planned_batch_tokens) == (1, 4096)
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


def test_lists_multiply_out_with_the_last_key_fastest() -> None:
    entry = {
        "sparsity": [0.1, 0.2],
        "score": "random",
        "seed": [0, 1],
        **{key: ["a", "b"] for key in ("against", "parts", "over", "of", "shares")},
    }
    result = [(one["sparsity"], one["seed"]) for one in expand_entry(entry)]
    assert result == [(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]
    assert all(
        one[key] == ["a", "b"] for one in expand_entry(entry) for key in ("against", "parts", "over", "of", "shares")
    )


def test_every_list_of_an_entry_multiplies_even_with_mappings_in_it() -> None:
    value = with_keys(
        "variants.0",
        schedule=["uniform", "owl", {"blocks": {0: 0.25}}],
        scope=[{}, {"layers": ["fc1"]}],
        resample=[1, 2],
    )
    result = [one for one in parse(value).variants if one.name == "wanda"]
    assert [(one.schedule.kind, one.scope.layers, one.resample) for one in result] == [
        (kind, layers, seed) for kind in ("uniform", "owl", "given") for layers in ((), ("fc1",)) for seed in (1, 2)
    ]


# exclude

GRID = {"score": ["magnitude", "random"], "sparsity": [0.3, 0.5], "structure": ["row", "matrix"]}


def left(*exclude: Any) -> list[tuple[Any, ...]]:
    return [tuple(one[key] for key in GRID) for one in expand_entry({**GRID, "exclude": list(exclude)})]


EVERYTHING = [(a, b, c) for a in GRID["score"] for b in GRID["sparsity"] for c in GRID["structure"]]


def test_exclude_removes_the_combinations_that_agree_with_all_its_keys() -> None:
    assert left() == EVERYTHING
    assert left({"score": "random"}) == [one for one in EVERYTHING if one[0] != "random"]
    result = left({"score": "random", "structure": "matrix"}, {"sparsity": 0.3, "structure": "row"})
    gone = [("random", 0.3, "matrix"), ("random", 0.5, "matrix"), ("magnitude", 0.3, "row"), ("random", 0.3, "row")]
    assert result == [one for one in EVERYTHING if one not in gone]
    assert not any("exclude" in one for one in expand_entry({**GRID, "exclude": [{"score": "random"}]}))


def test_a_list_in_exclude_is_any_of_its_values_and_one_mapping_needs_no_list() -> None:
    assert left({"sparsity": [0.3, 0.4], "score": "random"}) == [
        one for one in EVERYTHING if not (one[0] == "random" and one[1] == 0.3)
    ]
    assert expand_entry({**GRID, "exclude": {"score": "random"}}) == expand_entry(
        {**GRID, "exclude": [{"score": "random"}]}
    )


def test_what_exclude_left_out_is_counted_over_all_variants() -> None:
    value = changed(
        "variants.2", {"score": "random", "sparsity": [0.3, 0.5], "seed": [0, 1, 2], "exclude": {"seed": 1}}
    )
    value["variants"].append({**GRID, "exclude": [{"score": "random"}]})
    recipe = parse(value)
    assert recipe.n_excluded == 2 + 4
    assert len(recipe.variants) == 4 + 4 + 4
    assert parse(changed("name", "x")).n_excluded == 0


def test_exclude_works_in_demonstrations_too() -> None:
    recipe = parse(
        with_keys(
            "demonstrations.0",
            source=["fr", "en"],
            target=["fr", "en"],
            exclude=[{"source": "fr", "target": "fr"}, {"source": "en", "target": "en"}],
        )
    )
    assert [(one.source, one.target) for one in recipe.sets_named("mt")] == [("fr", "en"), ("en", "fr")]


@pytest.mark.parametrize(
    ("exclude", "parts"),
    [
        ("random", ["exclude is not a list of mappings", "got='random'"]),
        ([["score", "random"]], ["exclude is not a list of mappings"]),
        ([{}], ["exclude is not a list of mappings"]),
        ([3], ["exclude is not a list of mappings"]),
        ([{"scor": "random"}], ["unknown key in exclude", "got='scor'", "nearest='score'"]),
        ([{"propagation": "dense"}], ["unknown key in exclude", "got='propagation'"]),
        ([{"sparsity": 0.4}], ["exclude removes nothing", "0.4"]),
        ([{"score": "random", "sparsity": 0.31}], ["exclude removes nothing"]),
        ([{"score": ["magnitude", "random"]}], ["exclude removes every combination"]),
        ([{"score": "magnitude"}, {"score": "random"}], ["exclude removes every combination"]),
    ],
)
def test_an_invalid_exclude_is_reported_in_one_line_with_its_entry(exclude: Any, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed("variants.2", {**GRID, "exclude": exclude}))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert (caught.value.context["where"], caught.value.context["key"]) == ("recipe", "variants.2")
    for part in parts:
        assert part in text


def test_exclude_is_suggested_in_demonstrations_and_variants() -> None:
    with pytest.raises(RecipeError, match="nearest='exclude'"):
        parse(with_keys("variants.0", exlude=[{"score": "wanda"}]))
    with pytest.raises(RecipeError) as caught:
        parse(with_keys("evaluations.0", exclude=[{"task": "facts"}]))
    assert caught.value.context["key"] == "evaluations.0.exclude"
    assert "exclude" not in caught.value.context["expected"]


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
    with pytest.raises(RecipeError, match="unknown key") as caught:
        parse(with_keys("variants.0", **keys))
    assert (caught.value.context["key"], caught.value.context["nearest"]) == (place, nearest)
    assert "sparsity" not in caught.value.context["expected"]


def test_an_unknown_key_in_activations_is_reported_with_the_keys_of_activations() -> None:
    with pytest.raises(RecipeError, match="unknown key") as caught:
        parse(with_keys("demonstrations.0", activations={"bloks": [1], "quota_gib": 1}))
    context = caught.value.context
    assert (context["key"], context["nearest"]) == ("demonstrations.0.activations.bloks", "blocks")
    assert context["expected"] == ["blocks", "dtype", "inputs", "quota_gib", "samples"]


def test_further_complaints_are_counted() -> None:
    value = changed("model.dtype", "float64")
    value["corpus"]["lines"] = 0
    with pytest.raises(RecipeError) as caught:
        parse(value)
    assert caught.value.context["more_errors"] == 1


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
    assert len(text.splitlines()) == 1
    assert str(path) in text
    for part in parts:
        assert part in text
    assert "\\n" not in text


@pytest.mark.parametrize("place", [lambda folder: folder / "none.yaml", lambda folder: folder])
def test_a_recipe_that_is_not_there_ends_with_one_line(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(RecipeError, match="cannot be read") as caught:
        load_recipe(place(tmp_path))
    assert caught.value.context["path"] == str(place(tmp_path))


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
    with pytest.raises(RecipeError) as caught:
        parse(value(number))
    assert caught.value.context["key"] == key
    assert caught.value.context["expected"] == "a finite number"


def test_an_expected_number_is_described_by_its_bound() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(with_keys("variants.0", score="ria", power=0.0))
    assert (caught.value.context["key"], caught.value.context["expected"]) == ("variants.0.power", "a number > 0")


def test_the_message_of_a_validator_is_the_message_of_the_error() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed("corpus.path", "texts"))
    assert caught.value.message == "kind parallel_text needs a path, and kind cldr must not have one"
    assert caught.value.context == {"where": "recipe", "key": "corpus"}


def test_an_unknown_name_is_reported_with_the_index_of_its_entry() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed("variants.1.demonstrations", "mtt"))
    assert (caught.value.message, caught.value.context["key"]) == (
        "unknown name in demonstrations",
        "variants.1.demonstrations",
    )


def test_an_entry_with_an_absurd_number_of_combinations_is_refused_at_once() -> None:
    entry = {"sparsity": [n / 10**6 for n in range(1, 99_999)], "score": ["wanda", "ria"]}
    started_at = time.process_time()
    with pytest.raises(RecipeError, match="too many combinations") as caught:
        expand_entry(entry)
    assert time.process_time() - started_at < 1
    assert caught.value.context["got"] == 2 * 99_998
    assert caught.value.context["lengths"] == {"sparsity": 99_998, "score": 2}


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
