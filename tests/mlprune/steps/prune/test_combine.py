"""Combinations of keep masks, by set algebra on the parents' kept weights."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant import CombinedVariant, variant_row
from tests.tiny_recipes import FinishedRun, tiny_recipe

Kept = set[tuple[int, str, int]]


def kept(run: FinishedRun, variant_id: str) -> Kept:
    """(block, layer, place) of every weight that stays."""
    masks = run.keep_masks(variant_id).items()
    return {(*key, place) for key, mask in masks for place in mask.flatten().nonzero().flatten().tolist()}


def combinations(run: FinishedRun) -> list[PlannedVariant]:
    return [one for one in run.plan.variants.values() if isinstance(one.spec, CombinedVariant)]


@pytest.mark.parametrize(
    ("how", "together"),
    [
        ("intersection", Kept.intersection),
        ("union", Kept.union),
        ("difference", Kept.difference),
        ("symmetric_difference", Kept.symmetric_difference),
    ],
)
def test_a_combination_is_the_set_operation_on_the_kept_weights_of_its_parents(
    method_run: FinishedRun, how: str, together: object
) -> None:
    matching = [one for one in combinations(method_run) if one.spec.combination == how]
    assert {one.spec.propagation for one in matching} == {"dense", "sequential"}
    for one in matching:
        first, second = (kept(method_run, parent) for parent in one.spec.parent_ids)
        assert callable(together)
        assert kept(method_run, one.id) == together(first, second)
        assert first != second


def test_the_achieved_sparsity_is_counted(method_run: FinishedRun) -> None:
    for one in combinations(method_run):
        row = method_run.row("variants", one.id)
        n_weights = sum(mask.numel() for mask in method_run.keep_masks(one.id).values())
        assert row["sparsity"] == row["achieved_sparsity"] == 1 - len(kept(method_run, one.id)) / n_weights
    sparsities = {
        one.spec.combination: method_run.row("variants", one.id)["sparsity"] for one in combinations(method_run)
    }
    assert sparsities["union"] < 0.5 < sparsities["intersection"]


def test_parents_are_stored_in_order(method_run: FinishedRun) -> None:
    for one in combinations(method_run):
        rows = method_run.store.require("variants", one.id).rows["variant_parents"]
        assert rows == [
            {"variant_id": one.id, "parent_variant_id": parent, "role": f"parent {place}"}
            for place, parent in enumerate(one.spec.parent_ids, start=1)
        ]
        assert "variant_demonstrations" not in method_run.store.require("variants", one.id).rows


def test_the_row_has_what_the_parents_share(method_run: FinishedRun) -> None:
    for one in combinations(method_run):
        row = method_run.row("variants", one.id)
        parents = [method_run.row("variants", parent) for parent in one.spec.parent_ids]
        for name in ("score", "structure", "propagation", "profile", "removes", "schedule", "scope", "token_scope"):
            values = {parent[name] for parent in parents}
            assert row[name] == (values.pop() if len(values) == 1 else None)
        assert (row["combination"], row["weights_changed"]) == (one.spec.combination, False)


def test_a_combination_reads_no_model(method_run: FinishedRun) -> None:
    jobs = [job for job in method_run.plan.jobs if isinstance(job, CombineJob)]
    assert len(jobs) == len(combinations(method_run)) == 10
    assert {(job.step, job.needs_chain) for job in jobs} == {("prune", False)}


A = {"name": "a", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
B = {**A, "name": "b", "score": "ria"}
M = {"name": "m", "score": "magnitude", "sparsity": 0.5}
MONO = {"demonstrations": "mono"}


def combining(*of: str, how: Any = "union", name: str = "c") -> dict[str, Any]:
    return {"name": name, "combine": how, "of": list(of)}


def plan_of(folder: Path, *variants: dict[str, Any], seeds: list[int] | None = None) -> Plan:
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": []}
    for entry in recipe["demonstrations"]:
        entry["seed"] = seeds or 0
    return build_plan(parse_recipe(recipe, folder=folder))


def combine_combinations(plan: Plan) -> list[PlannedVariant]:
    return [one for one in plan.variants.values() if isinstance(one.spec, CombinedVariant)]


def members(plan: Plan) -> list[list[str]]:
    return [[parent.label for parent in one.parents] for one in combine_combinations(plan)]


def test_variants_of_several_names_that_agree_are_combined(tiny_inputs: Path) -> None:
    both = {"propagation": ["dense", "sequential"], "sparsity": [0.25, 0.5]}
    other = {**B, **both, "sparsity": [0.5, 0.75]}
    plan = plan_of(tiny_inputs, {**A, **both}, other, combining("a", "b"), seeds=[0, 1])
    assert len(members(plan)) == 8
    for one in combine_combinations(plan):
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
    assert [one.seed for one in combine_combinations(plan)] == [0, 1, 0, 1]


def test_a_score_without_sets_is_combined_with_every_language(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, A, M, combining("a", "m"))
    assert members(plan) == [[f"wanda {pair} 0.5 row dense", "magnitude 0.5 row"] for pair in ("fr-en", "sw-en")]


def test_the_order_of_names_is_that_of_the_parents_and_part_of_the_id(tiny_inputs: Path) -> None:
    orders = combining("a", "b", how="difference"), combining("b", "a", how="difference", name="d")
    plan = plan_of(tiny_inputs, {**A, **MONO}, {**B, **MONO}, *orders)
    first, second = combine_combinations(plan)
    assert first.spec.parent_ids == second.spec.parent_ids[::-1]
    assert first.id != second.id
    assert first.label == "difference of wanda fr 0.5 row dense; ria fr 0.5 row dense"


def test_a_combination_has_the_columns_that_its_parents_share(tiny_inputs: Path) -> None:
    other = {**B, **MONO, "removes": "highest", "tokens": "last_shot"}
    plan = plan_of(tiny_inputs, {**A, **MONO}, other, combining("a", "b"))
    (one,) = combine_combinations(plan)
    row = variant_row(one.spec, achieved=0.375)
    shared = {"structure": "row", "propagation": "dense", "profile": "corrected", "schedule": "uniform", "scope": None}
    assert {name: row[name] for name in shared} == shared
    assert [row[name] for name in ("score", "removes", "token_scope", "demonstration_set_id", "seed")] == [None] * 5
    assert (row["combination"], row["sparsity"], row["achieved_sparsity"]) == ("union", 0.375, 0.375)


def test_combinations_of_combinations_may_be_written_in_any_order(tiny_inputs: Path) -> None:
    combined = combining("c", "m", how="difference", name="top"), combining("a", "b")
    plan = plan_of(tiny_inputs, *combined, {**A, **MONO}, {**B, **MONO}, M)
    lower, top = combine_combinations(plan)
    (magnitude,) = (one.id for one in plan.variants.values() if one.label == "magnitude 0.5 row")
    assert [parent.id for parent in top.parents] == [lower.id, magnitude]
    assert top.label == "difference of union of wanda fr 0.5 row dense; ria fr 0.5 row dense; magnitude 0.5 row"


def test_a_combination_is_comparable_with_variants_that_agree_with_its_parents(tiny_inputs: Path) -> None:
    both = {"demonstrations": "mono", "propagation": ["dense", "sequential"]}
    other = {**A, **both, "name": "o", "removes": "highest"}
    combined = combining("a", "b"), combining("c", "o", name="top")
    plan = plan_of(tiny_inputs, {**A, **both}, {**B, **both}, other, *combined)
    tops = [one for one in combine_combinations(plan) if "top" in {entry.name for entry in one.entries}]
    pairs = [[parent.spec.propagation for parent in one.parents] for one in tops]
    assert pairs == [["dense", "dense"], ["sequential", "sequential"]]


def test_the_dense_variant_of_a_list_of_sparsities_is_not_combined(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**A, "sparsity": [0, 0.5]}, {**B, "sparsity": [0, 0.5]}, combining("a", "b"))
    assert {one.spec.sparsity for one in combine_combinations(plan)} == {0.5}


SPARSEGPT = {"name": "s", "demonstrations": "mono", "score": "sparsegpt", "sparsity": 0.5}


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ([A, {**B, "sparsity": 0.25}, combining("a", "b")], "sparsity"),
        ([A, {**B, "structure": "matrix"}, combining("a", "b")], "structure"),
        ([A, {**B, "propagation": "sequential"}, combining("a", "b")], "propagation"),
        ([{**A, "demonstrations": "mono"}, combining("a")], "wanda fr 0.5 row dense"),
        ([{**A, "sparsity": 0}, {**B, "sparsity": 0}, combining("a", "b")], "dense"),
        ([{**M, "name": "a"}, {**M, "name": "b"}, combining("a", "b")], "magnitude"),
        ([A, {**M, "score": "random", "seed": [0, 1]}, combining("a", "m")], "random 0.5 row seed 1"),
        ([A, B, combining("a", "d", name="d2"), combining("b", "d2", name="d")], "['d', 'd2']"),
        ([A, combining("c")], "expected=['a']"),
        ([SPARSEGPT, {**M, "structure": "matrix"}, combining("s", "m")], "sparsegpt fr 0.5"),
        ([A, B, M, combining("a", "b", "m", how="symmetric_difference")], "expected=2"),
        ([A, {**M, "name": "m1"}, {**M, "name": "m2"}, combining("a", "m1", "m2")], "magnitude"),
    ],
)
def test_variants_that_cannot_be_combined_are_refused_in_one_line(
    tiny_inputs: Path, variants: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, *variants)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
