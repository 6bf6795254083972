"""Lists that multiply out, and `exclude`."""

from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import expand_entry
from mlprune.recipe.loading.combinations import axes_of
from tests.valid_recipe import changed, parse, with_keys


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


def test_the_lists_that_multiply_out_have_their_lengths() -> None:
    entry = {"score": ["wanda", "ria"], "over": ["a", "b", "c"], "sparsity": 0.5, "exclude": [{}, {}], "seed": []}
    assert axes_of({**entry, "parameters": {"power": [1, 2, 3], "kind": "x"}}) == {"score": 2, "parameters.power": 3}
