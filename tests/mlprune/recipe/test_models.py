"""Sections of a recipe: defaults, strict types and cross-references."""

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.errors import BadInputError, RecipeError
from mlprune.languages import pair_languages
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import AUTO_BATCH_TOKENS, ComputeConfig, Recipe
from tests.refusals import refused
from tests.valid_recipe import DELETED, GOOD, changed, parse


def test_optional_keys_have_defaults() -> None:
    recipe = parse({key: GOOD[key] for key in ("name", "model", "corpus")})
    assert (recipe.demonstrations, recipe.variants, recipe.evaluations) == ((), (), ())
    assert (recipe.model.revision, recipe.model.dtype) == ("main", "auto")
    assert recipe.compute.replicas == "auto"
    assert recipe.compute.planned_batch_tokens("cpu", None) == AUTO_BATCH_TOKENS["cpu"]
    entry = parse(GOOD).demonstrations[0]
    assert (entry.shots, entry.samples, entry.max_tokens, entry.seed) == (4, 100, 512, 0)
    assert (parse(GOOD).variants[0].group, parse(GOOD).variants[0].propagation) == ("row", "sequential")


def test_a_recipe_is_frozen_and_leaves_the_mapping_it_was_read_from_alone() -> None:
    value = copy.deepcopy(GOOD)
    recipe = parse(value)
    assert value == GOOD
    with pytest.raises(ValidationError):
        recipe.name = "other"  # type: ignore[misc]
    assert isinstance(hash(recipe), int)


def test_a_name_whose_entry_multiplied_refers_to_all_its_sets() -> None:
    recipe = parse(changed("demonstrations.0.source", ["fr", "sw", "zho_Hans"]))
    assert [one.source for one in recipe.sets_named("mt")] == ["fr", "sw", "zh"]


def test_evaluations_do_not_multiply() -> None:
    assert len(parse(GOOD).evaluations) == 2


def test_languages_become_stored_tags_everywhere() -> None:
    recipe = parse(changed("demonstrations.1.language", "zho_Hant"))
    assert recipe.demonstrations[1].language == "zh-Hant"
    recipe = parse(changed("evaluations.0.languages", ["eng_Latn", "arb_Arab"]))
    assert recipe.evaluations[0].languages == ("en", "ar")


@pytest.mark.parametrize(
    ("pair", "sides"),
    [
        ("fr-en", ("fr", "en")),
        ("fra_Latn-eng_Latn", ("fr", "en")),
        ("zho_Hant-en", ("zh-Hant", "en")),
        ("zh-Hant-en", ("zh-Hant", "en")),
        ("en-zh-Hant", ("en", "zh-Hant")),
        ("zh-zh-Hant", ("zh", "zh-Hant")),
        ("ace-en", ("ace", "en")),
        ("pt-BR-en", ("pt-BR", "en")),
        ("en-zh-TW", ("en", "zh-TW")),
    ],
)
def test_a_pair_is_two_tags(pair: str, sides: tuple[str, str]) -> None:
    assert pair_languages(pair) == sides


BAD: list[tuple[str, Any, list[str]]] = [
    ("nmae", "x", ["unknown key", "nearest='name'"]),
    ("folder", "/x", ["unknown key", "folder"]),
    ("corpus.kind", "parallel_text", ["parallel_text needs a path"]),
    ("demonstrations.0.target", DELETED, ["translation needs ['source', 'target']"]),
    ("demonstrations.0.target", "fra_Latn", ["source and target are both fr"]),
    ("demonstrations.2.path", DELETED, ["code needs ['path']"]),
    ("demonstrations.3.parts", [], ["mixed needs ['parts']"]),
    ("demonstrations.3.parts", ["mt", "cod"], ["'cod'", "nearest='code'"]),
    ("demonstrations.3.parts", ["mixed"], ["key='demonstrations.3.parts'", "got='mixed'"]),
    ("demonstrations.0.samples", [], ["key='demonstrations.0.samples'"]),
    ("demonstrations.1.name", "mt", ["two entries have the same name", "got='mt'"]),
    ("evaluations.0.languages", [], ["facts needs languages"]),
    ("evaluations.0.pairs", ["fr-en"], ["facts takes languages, not pairs"]),
    ("evaluations.0.split", "train", ["dev and test", "'train'"]),
    ("evaluations.1.pairs", DELETED, ["translation needs pairs"]),
    ("evaluations.1.pairs", ["fren"], ["a pair such as fr-en", "'fren'"]),
    ("evaluations.1.pairs", ["fr-"], ["a pair such as fr-en"]),
    ("evaluations.1.pairs", ["fr-fra_Latn"], ["are both fr"]),
    ("evaluations.1.variants", ["wand"], ["'wand'", "nearest='wanda'"]),
]


@pytest.mark.parametrize(("place", "value", "parts"), BAD, ids=[f"{place}={value}" for place, value, _ in BAD])
def test_a_bad_recipe_is_refused_in_one_line_with_key_and_value(place: str, value: Any, parts: list[str]) -> None:
    parse(GOOD)
    with refused(RecipeError, where="recipe") as caught:
        parse(changed(place, value))
    text = str(caught.value)
    assert isinstance(caught.value, BadInputError)
    for part in parts:
        assert part in text


FRENCH = {"name": "fr", "kind": "monolingual", "language": "fr"}
WANDA = {"name": "w", "demonstrations": "fr", "score": "wanda", "sparsity": 0.5}
XNLI = {"task": "xnli", "path": "xnli", "languages": ["fr"]}


def parsed(**sections: Any) -> Recipe:
    recipe = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}, "demonstrations": [FRENCH]}
    return parse_recipe({**recipe, **sections}, folder=Path())


@pytest.mark.parametrize(
    ("sections", "key", "expected"),
    [
        ({"variants": [{**WANDA, "sparsity": "0.3"}]}, "variants.0.sparsity", "a number"),
        ({"demonstrations": [{**FRENCH, "samples": 4.0}]}, "demonstrations.0.samples", "a whole number"),
        ({"demonstrations": [{**FRENCH, "paired": "no"}]}, "demonstrations.0.paired", "true or false"),
    ],
)
def test_a_value_of_another_type_is_refused(sections: dict[str, Any], key: str, expected: str) -> None:
    with refused(RecipeError, key=key, expected=expected):
        parsed(**sections)


def test_a_whole_number_is_a_number() -> None:
    recipe = parsed(variants=[{**WANDA, "sparsity": [0, 0.5]}], demonstrations=[{**FRENCH, "shots": 2}])
    assert [variant.sparsity for variant in recipe.variants] == [0.0, 0.5]


def test_a_language_that_yaml_reads_as_false_is_explained() -> None:
    with refused(RecipeError, key="evaluations.0.languages.1") as caught:
        parsed(evaluations=[{**XNLI, "languages": ["en", False]}])
    assert "YAML reads no" in str(caught.value.context["expected"])


RECIPE: dict[str, Any] = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}}


@pytest.mark.parametrize("name", ["../../evil", "a/b", "a\\b", "/etc", ".", ".."])
def test_the_name_of_a_recipe_is_not_a_path(name: str) -> None:
    with pytest.raises(RecipeError, match="not a path"):
        parse({**GOOD, "name": name})
    assert parse({**GOOD, "name": "v1.2 (sw-en)"}).name == "v1.2 (sw-en)"


@pytest.mark.parametrize("name", ["x" * 100_000, "a\x1b[31mb", "two\nlines", " ", "nul\0"])
@pytest.mark.parametrize("section", ["", "demonstrations", "variants", "baselines"])
def test_a_name_is_one_short_line(section: str, name: str) -> None:
    entry = {
        "demonstrations": {"name": name, "kind": "monolingual", "language": "fr"},
        "variants": {"name": name, "score": "magnitude", "sparsity": 0.5},
        "baselines": {"name": name, "kind": "model", "path": "m"},
    }
    changes = {section: [entry[section]]} if section else {"name": name}
    with pytest.raises(RecipeError, match="a name") as caught:
        parse_recipe({**RECIPE, **changes}, folder=Path())
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("section", ["variants", "baselines"])
def test_an_entry_is_not_named_like_the_dense_model(section: str) -> None:
    method = {"variants": {"score": "magnitude", "sparsity": 0.5}, "baselines": {"kind": "model", "path": "m"}}
    with pytest.raises(RecipeError, match="not pruned"):
        parse_recipe({**RECIPE, section: [{"name": "dense", **method[section]}]}, folder=Path())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"evaluations": [{"task": "xnli", "path": "p", "languages": "en"}]}, "a list"),
        ({"variants": {"score": "wanda"}}, "a list"),
        ({"model": "facebook/xglm-564M"}, "keys and values"),
        (
            {"variants": [{"score": "magnitude", "structure": "rows"}]},
            "['row', 'matrix', 'alpha', 'units', 'blocks', 'sublayers', 'experts', 'all_experts', 'N:M']",
        ),
        ({"model": {"path": ""}}, "a text of at least 1 characters"),
        ({"corpus": {"kind": 3}}, "'parallel_text' or 'cldr'"),
    ],
)
def test_messages_do_not_show_phrases_of_the_library(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**RECIPE, **changes}, folder=Path())
    assert str(caught.value.context["expected"]).startswith(expected)
    assert "should" not in str(caught.value)


def test_everything_is_auto_unless_something_is_said() -> None:
    assert set(ComputeConfig().model_dump(exclude={"tf32", "node_labels", "spill_dir"}).values()) == {"auto"}
    assert not ComputeConfig().tf32
    assert ComputeConfig().node_labels == {}


def test_batches_are_larger_on_accelerators_unless_the_recipe_sets_their_size() -> None:
    assert AUTO_BATCH_TOKENS["cpu"] == 512
    assert AUTO_BATCH_TOKENS["cuda"] >= 8192
    for device, expected in AUTO_BATCH_TOKENS.items():
        for n_prunable in (None, 2 * 10**9):
            assert ComputeConfig().planned_batch_tokens(device, n_prunable) == expected
        assert ComputeConfig(batch_tokens=64).planned_batch_tokens(device, 10**6) == 64
    assert ComputeConfig().planned_batch_tokens("cpu", 10**6) == AUTO_BATCH_TOKENS["cpu"]
    assert ComputeConfig().planned_batch_tokens("cuda", 10**6) > AUTO_BATCH_TOKENS["cuda"]


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 2, "auto"])
def test_an_actor_has_whole_accelerators_or_a_part_of_one(gpus: Any) -> None:
    assert parse(changed("compute.gpus_per_actor", gpus)).compute.gpus_per_actor == gpus


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("gpus_per_actor", 1.5, ["gpus_per_actor above 1 has to be an integer", "1.5"]),
    ],
)
def test_a_wrong_section_ends_with_one_line(key: str, value: Any, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(changed(f"compute.{key}", value))
    text = str(caught.value)
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("device", "gpus", "fits"), [("cuda", 0, False), ("cpu", 1, False), ("cuda", 0.5, True), ("cpu", 0, True)]
)
def test_a_device_and_the_accelerators_of_an_actor_agree(device: str, gpus: float, fits: bool) -> None:
    value = changed("compute.device", device)
    value["compute"]["gpus_per_actor"] = gpus
    if fits:
        assert parse(value).compute.device == device
    else:
        with pytest.raises(RecipeError, match="gpus_per_actor"):
            parse(value)


@pytest.mark.parametrize("selector", ["H100", "!spot", "in(A100, H100)", "!in(A100,H100)"])
def test_nodes_are_selected_by_their_labels(selector: str) -> None:
    labels = {"ray.io/accelerator-type": selector}
    assert parse(changed("compute.node_labels", labels)).compute.node_labels == labels


@pytest.mark.parametrize("labels", [{"zone": "in()"}, {"zone": "a b"}, {"a b": "x"}, {"zone": 1}, {"zone": "in(a"}])
def test_a_label_or_selector_that_ray_does_not_know_is_refused(labels: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="node_labels"):
        parse(changed("compute.node_labels", labels))


@pytest.mark.parametrize(("size", "is_valid"), [("auto", True), (0.5, True), (0.01, False), ("2GB", False)])
def test_the_object_store_has_a_size_that_ray_accepts(size: object, *, is_valid: bool) -> None:
    value = changed("compute.object_store_gib", size)
    if is_valid:
        assert parse(value).compute.object_store_gib == size
    else:
        with pytest.raises(RecipeError, match="object_store_gib"):
            parse(value)
