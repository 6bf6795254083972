"""Plans of combinations: their parents and shared columns."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.variant import CombinedVariant, variant_row
from tests.tiny_recipes import tiny_recipe

A = {"name": "a", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
B = {**A, "name": "b", "score": "ria"}
M = {"name": "m", "score": "magnitude", "sparsity": 0.5}


def combining(*of: str, how: Any = "union", name: str = "c") -> dict[str, Any]:
    return {"name": name, "combine": how, "of": list(of)}


def plan_of(folder: Path, *variants: dict[str, Any], seeds: list[int] | None = None) -> Plan:
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": []}
    for entry in recipe["demonstrations"]:
        entry["seed"] = seeds or 0
    return build_plan(parse_recipe(recipe, folder=folder))


def combinations(plan: Plan) -> list[PlannedVariant]:
    return [one for one in plan.variants.values() if isinstance(one.spec, CombinedVariant)]


def members(plan: Plan) -> list[list[str]]:
    return [[parent.label for parent in one.parents] for one in combinations(plan)]


def test_variants_of_several_names_that_agree_are_combined(tiny_inputs: Path) -> None:
    both = {"propagation": ["dense", "sequential"], "sparsity": [0.25, 0.5]}
    plan = plan_of(
        tiny_inputs, {**A, **both}, {**B, **both, "sparsity": [0.5, 0.75]}, combining("a", "b"), seeds=[0, 1]
    )
    assert len(members(plan)) == 8
    for one in combinations(plan):
        first, second = (parent.spec for parent in one.parents)
        assert (first.score.score, second.score.score) == ("wanda", "ria")
        assert (first.sparsity, first.propagation, first.set_ids) == (0.5, second.propagation, second.set_ids)
        assert one.spec.parent_ids == (first.id, second.id)


def test_variants_of_one_name_that_differ_only_in_language_are_combined(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**A, "sparsity": [0.25, 0.5]}, combining("a"), seeds=[0, 1])
    pairs = [("fr-en", "sw-en"), ("fr-en seed 1", "sw-en seed 1")]
    assert members(plan) == [
        [f"wanda {one} {sparsity} row dense" for one in pair] for sparsity in (0.25, 0.5) for pair in pairs
    ]
    assert [one.seed for one in combinations(plan)] == [0, 1, 0, 1]


def test_a_score_without_sets_is_combined_with_every_language(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, A, M, combining("a", "m"))
    assert members(plan) == [[f"wanda {pair} 0.5 row dense", "magnitude 0.5 row"] for pair in ("fr-en", "sw-en")]


def test_the_order_of_names_is_that_of_the_parents_and_part_of_the_id(tiny_inputs: Path) -> None:
    plan = plan_of(
        tiny_inputs,
        {**A, "demonstrations": "mono"},
        {**B, "demonstrations": "mono"},
        combining("a", "b", how="difference"),
        combining("b", "a", how="difference", name="d"),
    )
    first, second = combinations(plan)
    assert first.spec.parent_ids == second.spec.parent_ids[::-1]
    assert first.id != second.id
    assert first.label == "difference of wanda fr 0.5 row dense; ria fr 0.5 row dense"


def test_every_set_operation_is_another_variant(tiny_inputs: Path) -> None:
    parts = ["intersection", "union", "difference", "symmetric_difference"]
    plan = plan_of(tiny_inputs, {**A, "demonstrations": "mono"}, M, combining("a", "m", how=parts))
    assert [one.spec.combination for one in combinations(plan)] == parts
    assert len({one.id for one in combinations(plan)}) == 4


def test_a_combination_has_the_columns_that_its_parents_share(tiny_inputs: Path) -> None:
    mono = {"demonstrations": "mono"}
    plan = plan_of(
        tiny_inputs,
        {**A, **mono},
        {**B, **mono, "removes": "highest", "tokens": "last_shot"},
        combining("a", "b"),
    )
    (one,) = combinations(plan)
    row = variant_row(one.spec, achieved=0.375)
    shared = {"structure": "row", "propagation": "dense", "profile": "corrected", "schedule": "uniform", "scope": None}
    assert {name: row[name] for name in shared} == shared
    assert [row[name] for name in ("score", "removes", "token_scope", "demonstration_set_id", "seed")] == [None] * 5
    assert (row["combination"], row["sparsity"], row["achieved_sparsity"]) == ("union", 0.375, 0.375)


def test_combinations_of_combinations_may_be_written_in_any_order(tiny_inputs: Path) -> None:
    mono = {"demonstrations": "mono"}
    plan = plan_of(
        tiny_inputs,
        combining("c", "m", how="difference", name="top"),
        combining("a", "b"),
        {**A, **mono},
        {**B, **mono},
        M,
    )
    lower, top = combinations(plan)
    assert [parent.id for parent in top.parents] == [
        lower.id,
        next(o.id for o in plan.variants.values() if o.label == "magnitude 0.5 row"),
    ]
    assert top.label == "difference of union of wanda fr 0.5 row dense; ria fr 0.5 row dense; magnitude 0.5 row"


def test_a_combination_is_comparable_with_variants_that_agree_with_its_parents(tiny_inputs: Path) -> None:
    both = {"demonstrations": "mono", "propagation": ["dense", "sequential"]}
    other = {**A, **both, "name": "o", "removes": "highest"}
    plan = plan_of(
        tiny_inputs, {**A, **both}, {**B, **both}, other, combining("a", "b"), combining("c", "o", name="top")
    )
    tops = [one for one in combinations(plan) if "top" in {entry.name for entry in one.entries}]
    assert [[parent.spec.propagation for parent in one.parents] for one in tops] == [
        ["dense", "dense"],
        ["sequential", "sequential"],
    ]


def test_the_dense_variant_of_a_list_of_sparsities_is_not_combined(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**A, "sparsity": [0, 0.5]}, {**B, "sparsity": [0, 0.5]}, combining("a", "b"))
    assert {one.spec.sparsity for one in combinations(plan)} == {0.5}


SPARSEGPT = {"name": "s", "demonstrations": "mono", "score": "sparsegpt", "sparsity": 0.5}


@pytest.mark.parametrize(
    ("variants", "parts"),
    [
        (
            [A, {**B, "sparsity": 0.25}, combining("a", "b")],
            ["no variants to combine", "agree in sparsity"],
        ),
        ([A, {**B, "structure": "matrix"}, combining("a", "b")], ["no variants to combine"]),
        ([A, {**B, "propagation": "sequential"}, combining("a", "b")], ["no variants to combine"]),
        ([{**A, "demonstrations": "mono"}, combining("a")], ["no variants to combine", "wanda fr 0.5 row dense"]),
        ([{**A, "sparsity": 0}, {**B, "sparsity": 0}, combining("a", "b")], ["no variants to combine"]),
        ([{**M, "name": "a"}, {**M, "name": "b"}, combining("a", "b")], ["no variants to combine"]),
        (
            [A, {**M, "score": "random", "seed": [0, 1]}, combining("a", "m")],
            ["several variants of one name", "one m", "random 0.5 row seed 1"],
        ),
        (
            [
                A,
                {**B, "sparsity": [0.25, 0.5]},
                combining("a", "b"),
                combining("c", "d", name="d2"),
                combining("c", "d2", name="d"),
            ],
            ["cycle", "['d', 'd2']"],
        ),
        ([A, combining("c")], ["of", "'c'", "expected=['a']"]),
        (
            [SPARSEGPT, {**M, "structure": "matrix"}, combining("s", "m")],
            ["variants with changed weights or biases cannot be combined", "sparsegpt fr 0.5"],
        ),
        (
            [A, B, M, combining("a", "b", "m", how="symmetric_difference")],
            ["symmetric difference takes two variants", "expected=2"],
        ),
        (
            [A, {**M, "name": "m1"}, {**M, "name": "m2"}, combining("a", "m1", "m2")],
            ["one variant twice", "magnitude"],
        ),
    ],
)
def test_variants_that_cannot_be_combined_are_refused_in_one_line(
    tiny_inputs: Path, variants: list[dict[str, Any]], parts: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, *variants)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for part in parts:
        assert part in text
