"""Sections of a recipe: valid ones, and the one-line errors of invalid ones."""

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlprune.errors import BadInputError, RecipeError
from mlprune.recipe import AUTO_BATCH_TOKENS, Recipe, pair_languages, parse_recipe
from mlprune.recipe.models import searched_entries, without_searched
from tests.search_recipes import search_recipe
from tests.valid_recipe import DELETED, GOOD, changed
from tests.valid_recipe import parse as valid_recipe_parse


def test_optional_keys_have_defaults() -> None:
    recipe = valid_recipe_parse({key: GOOD[key] for key in ("name", "model", "corpus")})
    assert (recipe.demonstrations, recipe.variants, recipe.evaluations) == ((), (), ())
    assert (recipe.model.revision, recipe.model.dtype) == ("main", "auto")
    assert recipe.compute.replicas == "auto"
    assert recipe.compute.planned_batch_tokens("cpu") == AUTO_BATCH_TOKENS["cpu"]
    entry = valid_recipe_parse(GOOD).demonstrations[0]
    assert (entry.shots, entry.samples, entry.max_tokens, entry.seed) == (4, 100, 512, 0)
    assert (valid_recipe_parse(GOOD).variants[0].group, valid_recipe_parse(GOOD).variants[0].propagation) == (
        "row",
        "sequential",
    )


def test_a_recipe_is_frozen_and_leaves_the_mapping_it_was_read_from_alone() -> None:
    value = copy.deepcopy(GOOD)
    recipe = valid_recipe_parse(value)
    assert value == GOOD
    with pytest.raises(ValidationError):
        recipe.name = "other"  # type: ignore[misc]
    assert isinstance(hash(recipe), int)


def test_a_name_whose_entry_multiplied_refers_to_all_its_sets() -> None:
    recipe = valid_recipe_parse(changed("demonstrations.0.source", ["fr", "sw", "zho_Hans"]))
    assert [one.source for one in recipe.sets_named("mt")] == ["fr", "sw", "zh"]


def test_evaluations_do_not_multiply() -> None:
    assert len(valid_recipe_parse(GOOD).evaluations) == 2


def test_languages_become_stored_tags_everywhere() -> None:
    recipe = valid_recipe_parse(changed("demonstrations.1.language", "zho_Hant"))
    assert recipe.demonstrations[1].language == "zh-Hant"
    recipe = valid_recipe_parse(changed("evaluations.0.languages", ["eng_Latn", "arb_Arab"]))
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
    ("model.revison", "main", ["unknown key", "model.revison", "nearest='revision'"]),
    ("corpus.pth", "x", ["unknown key", "nearest='path'"]),
    ("demonstrations.0.sample", 3, ["unknown key", "nearest='samples'"]),
    ("evaluations.0.lnguages", ["en"], ["unknown key", "nearest='languages'"]),
    ("compute.replica", 1, ["unknown key", "nearest='replicas'"]),
    ("folder", "/x", ["unknown key", "folder"]),
    ("name", 3, ["key='name'", "expected='a text'", "got=3"]),
    ("corpus", DELETED, ["key='corpus'"]),
    ("corpus.kind", "parallel_text", ["parallel_text needs a path"]),
    ("corpus.path", "x", ["path does not apply to kind cldr"]),
    ("demonstrations.0.target", DELETED, ["translation needs ['source', 'target']"]),
    ("demonstrations.0.target", "fra_Latn", ["source and target are both fr"]),
    ("demonstrations.0.language", "fr", ["translation needs"]),
    ("demonstrations.1.source", "fr", ["monolingual needs ['language']"]),
    ("demonstrations.2.path", DELETED, ["code needs ['path']"]),
    ("demonstrations.3.parts", [], ["mixed needs ['parts']"]),
    ("demonstrations.3.parts", ["mt", "cod"], ["'cod'", "nearest='code'"]),
    ("demonstrations.3.parts", ["mixed"], ["key='demonstrations.3.parts'", "got='mixed'"]),
    ("demonstrations.0.samples", [], ["key='demonstrations.0.samples'"]),
    ("demonstrations.1.name", "mt", ["two entries have the same name", "got='mt'"]),
    ("demonstrations.1.name", DELETED, ["key='demonstrations.1.name'"]),
    ("evaluations.0.languages", [], ["facts needs languages"]),
    ("evaluations.0.pairs", ["fr-en"], ["facts takes languages, not pairs"]),
    ("evaluations.0.split", "train", ["dev and test", "'train'"]),
    ("evaluations.1.pairs", DELETED, ["translation needs pairs"]),
    ("evaluations.1.pairs", ["fren"], ["a pair such as fr-en", "'fren'"]),
    ("evaluations.1.pairs", ["fr-"], ["a pair such as fr-en"]),
    ("evaluations.1.pairs", ["fr-fra_Latn"], ["are both fr"]),
    ("evaluations.1.variants", ["wand"], ["'wand'", "nearest='wanda'"]),
    ("n_excluded", 3, ["unknown key", "n_excluded"]),
]


@pytest.mark.parametrize(("place", "value", "parts"), BAD, ids=[f"{place}={value}" for place, value, _ in BAD])
def test_a_bad_recipe_is_refused_in_one_line_with_key_and_value(place: str, value: Any, parts: list[str]) -> None:
    valid_recipe_parse(GOOD)
    with pytest.raises(RecipeError) as caught:
        valid_recipe_parse(changed(place, value))
    text = str(caught.value)
    assert isinstance(caught.value, BadInputError)
    assert len(text.splitlines()) == 1
    assert caught.value.context["where"] == "recipe"
    for part in parts:
        assert part in text


SEARCHED: dict[str, Any] = {"name": "again", "score": "magnitude", "schedule": {"kind": "search", "from": "blocks"}}


def parse(recipe: dict[str, Any]) -> Recipe:
    return parse_recipe(recipe, folder=Path())


def recipe_with(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    recipe = search_recipe()
    return {**recipe, "variants": [*recipe.get("variants", ()), *entries], **changes}


def test_an_entry_needs_no_sparsity_and_is_planned_later() -> None:
    parsed = parse(recipe_with(SEARCHED))
    (entry,) = searched_entries(parsed.variants, "blocks")
    assert (entry.name, entry.sparsity, entry.schedule.source) == ("again", None, "blocks")
    assert searched_entries(parsed.variants, "other") == ()
    assert entry not in without_searched(parsed).variants


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        ({"kind": "search", "from": "block"}, ["nearest='blocks'"]),
        ({"kind": "search"}, ["need from"]),
        ({"kind": "search", "from": "blocks", "group": "all"}, ["group does not apply to schedule search"]),
    ],
)
def test_a_schedule_names_a_search(schedule: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(recipe_with({**SEARCHED, "schedule": schedule}))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert all(part in text for part in parts)


def test_a_search_without_levels_cannot_be_a_schedule() -> None:
    recipe = recipe_with(SEARCHED)
    search = {key: value for key, value in recipe["searches"][0].items() if key not in ("levels", "base")}
    recipe["searches"] = [{**search, "base": {"score": "magnitude"}, "space": {"sparsity": [0.25, 0.5]}, "compare": []}]
    with pytest.raises(RecipeError, match="search blocks has no levels") as caught:
        parse(recipe)
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_but_evaluations_names_an_entry_that_comes_later() -> None:
    plain = {"name": "plain", "score": "magnitude", "sparsity": 0.5}
    for other in ({**plain, "against": ["again"]}, {"name": "u", "combine": "union", "of": ["plain", "again"]}):
        with pytest.raises(RecipeError, match="only evaluations can name it"):
            parse(recipe_with(SEARCHED, plain, {**other, "name": "other"}))
    errors = {"demonstrations": ["mt"], "variants": ["again"]}
    for analyses in ({"neuron_variants": ["again"]}, {"layer_errors": errors}):
        with pytest.raises(RecipeError, match="only evaluations can name it"):
            parse(recipe_with(SEARCHED, plain, analyses=analyses))
    assert parse(recipe_with({**SEARCHED, "against": ["plain"]}, plain)).variants


def test_a_search_with_a_total_refuses_another_sparsity() -> None:
    recipe = recipe_with({**SEARCHED, "sparsity": 0.3})
    levels = {"per": "block", "values": [0.25, 0.5, 0.75], "total": 0.5}
    recipe["searches"] = [{**recipe["searches"][0], "levels": levels}]
    with pytest.raises(RecipeError, match="got sparsity"):
        parse(recipe)
