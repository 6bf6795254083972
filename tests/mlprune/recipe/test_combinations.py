"""The sections of a recipe, as the models have them."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import loading
from mlprune.recipe.combinations import (
    MOST,
    SECTIONS,
    axes_of,
    count_evaluations,
    count_variants,
    expand_entry,
    keys_at,
)
from mlprune.recipe.demonstrations import ActivationsConfig
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import CorpusConfig
from mlprune.recipe.schedule_and_scope import ScopeConfig
from tests.refusals import refused
from tests.valid_recipe import GOOD, changed, with_keys
from tests.valid_recipe import parse as valid_recipe_parse


def test_every_section_is_listed_in_the_order_of_a_recipe_and_inner_ones_follow_their_section() -> None:
    in_order = (
        "model corpus demonstrations chat activations variants schedule scope reconstruct recover quantise neurons"
    )
    in_order += " keep against"
    in_order += (
        " baselines tasks answer generate data_sets evaluations questions searches levels method budget sensitivity"
    )
    in_order += " analyses layer_errors compute"
    assert list(SECTIONS) == in_order.split()


@pytest.mark.parametrize(
    ("location", "model"),
    [
        (("corpus", "pth"), CorpusConfig),
        (("demonstrations", 0, "activations", "bloks"), ActivationsConfig),
        (("variants", 3, "scope", "blocs"), ScopeConfig),
    ],
)
def test_the_keys_next_to_a_key_are_those_of_its_section(
    location: tuple[int | str, ...], model: type[CorpusConfig]
) -> None:
    assert keys_at(location) == sorted(model.model_fields)


def test_exclude_is_a_key_of_entries_that_multiply_out_and_of_nothing_else() -> None:
    assert "exclude" in keys_at(("variants", 0, "exlude"))
    for location in (("variants", 0, "scope", "exlude"), ("evaluations", 0, "exlude"), ("exlude",)):
        assert "exclude" not in keys_at(location)


def test_fields_that_a_user_cannot_set_are_not_listed() -> None:
    assert "name" in keys_at(("folder",))
    assert not {"folder", "n_excluded"} & set(keys_at(("folder",)))


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
    result = [one for one in valid_recipe_parse(value).variants if one.name == "wanda"]
    assert [(one.schedule.kind, one.scope.layers, one.resample) for one in result] == [
        (kind, layers, seed) for kind in ("uniform", "owl", "given") for layers in ((), ("fc1",)) for seed in (1, 2)
    ]


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
    recipe = valid_recipe_parse(value)
    assert recipe.n_excluded == 2 + 4
    assert len(recipe.variants) == 4 + 4 + 4
    assert valid_recipe_parse(changed("name", "x")).n_excluded == 0


def test_exclude_works_in_demonstrations_too() -> None:
    recipe = valid_recipe_parse(
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
    with refused(RecipeError, where="recipe", key="variants.2") as caught:
        valid_recipe_parse(changed("variants.2", {**GRID, "exclude": exclude}))
    text = str(caught.value)
    for part in parts:
        assert part in text


def test_exclude_is_suggested_in_demonstrations_and_variants() -> None:
    with pytest.raises(RecipeError, match="nearest='exclude'"):
        valid_recipe_parse(with_keys("variants.0", exlude=[{"score": "wanda"}]))
    with refused(RecipeError, key="evaluations.0.exclude") as caught:
        valid_recipe_parse(with_keys("evaluations.0", exclude=[{"task": "facts"}]))
    assert "exclude" not in caught.value.context["expected"]


def test_the_lists_that_multiply_out_have_their_lengths() -> None:
    entry = {"score": ["wanda", "ria"], "over": ["a", "b", "c"], "sparsity": 0.5, "exclude": [{}, {}], "seed": []}
    assert axes_of({**entry, "parameters": {"power": [1, 2, 3], "kind": "x"}}) == {"score": 2, "parameters.power": 3}


SEEDS = list(range(300))
SPARSITIES = [n / 1000 for n in range(1, 301)]
SET = {"name": "mt", "kind": "translation", "source": "fr", "target": "en"}
VARIANT = {"name": "v", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5}


def recipe(**sections: Any) -> dict[str, Any]:
    empty = ("demonstrations", "variants", "evaluations")
    return {**{key: value for key, value in GOOD.items() if key not in empty}, "demonstrations": [SET], **sections}


def parse(**sections: Any) -> Any:
    return parse_recipe(recipe(**sections), folder=Path())


TOO_MANY = {
    "sets times sparsities": (
        {"demonstrations": [{**SET, "seed": SEEDS}], "variants": [{**VARIANT, "sparsity": SPARSITIES}]},
        ("90,001", "demonstrations.0.seed: 300", "variants.0.sparsity: 300"),
    ),
    "lists of an entry": (
        {"variants": [{**VARIANT, "sparsity": SPARSITIES, "samples": SEEDS[1:], "max": SEEDS, "min": SEEDS * 400}]},
        (f"{300 * 299 * 300 * 120_000:,}", "variants.0.min: 120,000"),
    ),
    "sets alone": (
        {"demonstrations": [{**SET, "seed": SEEDS, "max_tokens": SEEDS[2:]}]},
        (f"{300 * 298:,}", "demonstrations.0.seed: 300"),
    ),
    "lists of plug-ins": (
        {"variants": [{**VARIANT, "parameters": dict.fromkeys("abcde", SEEDS)}]},
        (f"{300**5:,}", "variants.0.parameters.a: 300"),
    ),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_too_many_are_refused_with_their_number_and_the_longest_lists(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections, (count, *lists) = TOO_MANY[name]
    expanded: list[int] = []
    original = loading.expand_entry

    def expand(entry: Any) -> Any:
        result = original(entry)
        expanded.append(len(result))
        return result

    monkeypatch.setattr(loading, "expand_entry", expand)
    with pytest.raises(RecipeError) as error:
        parse(**sections)
    context = error.value.context
    assert context["got"] == count
    assert all(text in str(context["longest_lists"]) for text in lists)
    assert "--yes" in str(context["next"])
    assert sum(expanded) <= 4 * 300


def test_a_recipe_with_many_is_read_if_the_user_allows_it() -> None:
    sections = recipe(demonstrations=[{**SET, "seed": SEEDS}], variants=[{**VARIANT, "sparsity": SPARSITIES[:70]}])
    with pytest.raises(RecipeError):
        parse_recipe(sections, folder=Path())
    assert count_variants(parse_recipe(sections, folder=Path(), allow_many=True)) == 300 * 70 + 1 > MOST


def test_too_many_evaluations_are_refused() -> None:
    languages = ["en", "fr"]
    many = {"task": "translation", "path": "corpus", "pairs": ["fr-en", "en-fr"], "shot_seed": list(range(MOST))}
    few = {"task": "facts", "path": "corpus", "languages": languages, "rule": ["mean", "pmi"]}
    assert count_evaluations(parse(evaluations=[few, {**many, "shot_seed": [1, 2, 3]}])) == 4 + 6
    with pytest.raises(RecipeError) as error:
        parse(evaluations=[few, many])
    assert "evaluations.1.shot_seed" in str(error.value.context["longest_lists"])


TWO = [{**SET, "seed": [0, 1]}, {**SET, "name": "other", "source": "es", "seed": [1, 2, 2**40]}]


@pytest.mark.parametrize(
    ("variants", "count"),
    [
        ([VARIANT], 2),
        ([{**VARIANT, "score": "magnitude"}], 1),
        ([{**VARIANT, "sparsity": 0}], 1),
        ([{**VARIANT, "bits": 8}], 4),
        ([{**VARIANT, "demonstrations": ["mt", "other"]}], 5),
        ([{**VARIANT, "score": "contrast", "contrast": "other", "demonstrations": "mt"}], 1),
        ([VARIANT, {"name": "c", "combine": "union", "of": ["v", "w"]}, {**VARIANT, "name": "w"}], 6),
        ([VARIANT, {"combine": "union", "of": ["c", "v"]}, {"name": "c", "combine": "union", "of": ["v"]}], 6),
        ([{"name": "n", "neurons": {"of": ["en", "fr"], "sets": ["a", "b"], "share": [0.1, 0.2, 0.3]}}], 6),
    ],
)
def test_variants_are_counted_without_building_them(variants: list[Any], count: int) -> None:
    languages = [{"name": name, "kind": "monolingual", "language": code} for name, code in (("a", "en"), ("b", "fr"))]
    assert count_variants(parse(demonstrations=[*TWO, *languages], variants=variants)) == count + 1


def test_variants_over_several_sets_are_counted_by_seed() -> None:
    over = {"score": "wanda", "sparsity": 0.5, "over": ["mt", "other"], "aggregate": "mean"}
    assert count_variants(parse(demonstrations=TWO, variants=[over])) == 4 + 1
