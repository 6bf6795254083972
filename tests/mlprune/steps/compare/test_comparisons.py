"""Planned comparisons."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.compare.overlaps import FeatureOverlapJob, MaskOverlapJob
from mlprune.steps.compare.rank_consistency import RankConsistencyJob
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant import CombinedVariant
from tests.tiny_recipes import FinishedRun, tiny_recipe

FACTS: dict[str, Any] = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}


def plan_of(folder: Path, *variants: dict[str, Any], evaluations: list[dict[str, Any]] | None = None) -> Plan:
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": evaluations or [FACTS]}
    return build_plan(parse_recipe(recipe, folder=folder))


def compared(plan: Plan) -> list[tuple[str, str]]:
    """Labels of (variant, baseline), without dense baselines."""
    labels = {variant.id: variant.label for variant in plan.variants.values()}
    pairs = [(labels[j.variant_id], labels[j.baseline_id]) for j in plan.jobs if isinstance(j, CompareJob)]
    return [pair for pair in pairs if pair[1] != "dense"]


def test_every_variant_is_compared_with_dense_on_every_task_it_has(tiny_run: FinishedRun) -> None:
    plan = tiny_run.plan
    dense, *pruned = plan.variants
    jobs = [job for job in plan.jobs if isinstance(job, CompareJob) and job.baseline_id == dense]
    tasks = {variant: [job.pairs[0][0].task.task for job in jobs if job.variant_id == variant] for variant in pruned}
    for variant in pruned:
        is_magnitude = plan.variants[variant].label.startswith("magnitude")
        assert tasks[variant] == (["facts", "perplexity", "translation"] if is_magnitude else ["facts"])
    assert all(len(job.pairs) == 3 for job in jobs if job.pairs[0][0].task.task == "facts")


def test_named_variants_are_compared_if_they_are_comparable(tiny_run: FinishedRun) -> None:
    assert sorted(compared(tiny_run.plan)) == sorted(
        [
            *((f"wanda fr-en 0.5 row {how}", f"wanda fr 0.5 row {how}") for how in ("dense", "sequential")),
            *(
                (f"wanda {pair} 0.5 row {how}", "magnitude 0.5 row")
                for pair in ("fr-en", "sw-en")
                for how in ("dense", "sequential")
            ),
        ]
    )


def test_every_seed_of_a_named_random_entry_is_a_baseline(tiny_inputs: Path) -> None:
    plan = plan_of(
        tiny_inputs,
        {"name": "m", "score": "magnitude", "sparsity": [0.25, 0.5], "against": ["r"]},
        {"name": "r", "score": "random", "sparsity": 0.5, "seed": [0, 1]},
    )
    assert compared(plan) == [("magnitude 0.5 row", "random 0.5 row"), ("magnitude 0.5 row", "random 0.5 row seed 1")]


def test_no_variant_is_compared_with_itself(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {"name": "r", "score": "random", "sparsity": 0.5, "seed": [0, 1], "against": ["r"]})
    assert sorted(compared(plan)) == [
        ("random 0.5 row", "random 0.5 row seed 1"),
        ("random 0.5 row seed 1", "random 0.5 row"),
    ]


@pytest.mark.parametrize("names", [("m", "m"), ("m", "same")])
def test_a_variant_that_is_named_against_itself_is_refused(tiny_inputs: Path, names: tuple[str, str]) -> None:
    own, other = names
    entry = {"score": "magnitude", "sparsity": 0.5}
    entries = [{"name": own, **entry, "against": [other]}, *([] if own == other else [{"name": other, **entry}])]
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, *entries)
    assert (caught.value.context["entry"], caught.value.context["got"]) == names


def test_a_combination_is_compared_with_comparable_parents(tiny_inputs: Path) -> None:
    wanda = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    plan = plan_of(
        tiny_inputs,
        {"name": "a", **wanda},
        {"name": "b", **wanda, "score": "ria"},
        {"name": "c", "combine": "union", "of": ["a", "b"], "against": ["a"]},
    )
    pairs = [f"wanda {pair} 0.5 row dense" for pair in ("fr-en", "sw-en")]
    assert compared(plan) == [(f"union of {label}; {label.replace('wanda', 'ria')}", label) for label in pairs]


def test_masks_of_the_two_profiles_and_of_every_reading_are_compared(method_run: FinishedRun) -> None:
    pairs = {job.variants for job in method_run.plan.jobs if isinstance(job, MaskOverlapJob)}
    for first, second, is_compared in (
        ("paper", "nested", True),
        ("first", "resample", True),
        ("highest", "target", True),
        ("owl", "scope", True),
        ("mean", "max", True),
        ("ria", "first", False),
        ("matrix", "first", False),
    ):
        ids = [
            next(o.id for o in method_run.named(name, "dense") if o.spec.sparsity == 0.5) for name in (first, second)
        ]
        assert (tuple(sorted(ids)) in pairs) == is_compared
    combined = {
        variant.id for variant in method_run.plan.variants.values() if isinstance(variant.spec, CombinedVariant)
    }
    assert not any(combined & set(pair) for pair in pairs)


def test_splits_limits_and_tasks_are_separate_families(tiny_inputs: Path) -> None:
    entries = [FACTS, {**FACTS, "limit": 4, "languages": ["fr", "sw"]}, {**FACTS, "limit": 4, "languages": ["en"]}]
    plan = plan_of(tiny_inputs, {"score": "magnitude", "sparsity": 0.5}, evaluations=entries)
    families = [
        [evaluation.task.language for evaluation, _ in job.pairs] for job in plan.jobs if isinstance(job, CompareJob)
    ]
    assert families == [["en", "fr"], ["fr", "sw", "en"]]
    for job in plan.jobs:
        if isinstance(job, CompareJob):
            assert all(evaluation.task == baseline.task for evaluation, baseline in job.pairs)


def test_ranks_need_candidates_and_two_languages(tiny_inputs: Path) -> None:
    evaluations = [
        {**FACTS, "languages": ["en"]},
        {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 3},
    ]
    plan = plan_of(tiny_inputs, evaluations=evaluations)
    assert not [job for job in plan.jobs if isinstance(job, RankConsistencyJob)]
    assert len([job for job in plan_of(tiny_inputs).jobs if isinstance(job, RankConsistencyJob)]) == 1


def test_masks_are_compared_if_only_the_sets_or_the_seed_differ(tiny_run: FinishedRun) -> None:
    specs = {variant.id: variant.spec for variant in tiny_run.plan.variants.values()}
    pairs = {job.variants for job in tiny_run.plan.jobs if isinstance(job, MaskOverlapJob)}

    def likeness(variant: str) -> tuple[Any, ...] | None:
        spec = specs[variant]
        return isinstance(spec, ScoredVariant) and (spec.score.score, spec.structure, spec.propagation, spec.sparsity)

    expected = {(a, b) for a in specs for b in specs if a < b and likeness(a) and likeness(a) == likeness(b)}
    assert pairs == expected
    assert len(pairs) == 11


def test_features_of_every_pair_of_sets_are_compared_once(tiny_run: FinishedRun) -> None:
    pairs = [frozenset(job.statistics) for job in tiny_run.plan.jobs if isinstance(job, FeatureOverlapJob)]
    assert len(pairs) == len(set(pairs)) == 10
    assert all(len(pair) == 2 for pair in pairs)


def test_features_are_compared_at_every_share(tiny_inputs: Path) -> None:
    recipe = {**tiny_recipe(), "variants": [], "evaluations": [], "analyses": {"overlap_shares": [0.3, 0.5]}}
    plan = build_plan(parse_recipe(recipe, folder=tiny_inputs))
    overlap_jobs = [job for job in plan.jobs if isinstance(job, FeatureOverlapJob)]
    assert len(overlap_jobs) == 20
    assert {job.share for job in overlap_jobs} == {0.3, 0.5}
    assert len({job.identity.id for job in overlap_jobs}) == 20


def test_a_share_smaller_than_one_feature_is_found_while_planning(tiny_inputs: Path) -> None:
    recipe = {**tiny_recipe(), "variants": [], "evaluations": [], "analyses": {"overlap_shares": [0.03]}}
    with pytest.raises(RecipeError, match="smaller than one feature"):
        build_plan(parse_recipe(recipe, folder=tiny_inputs))


def test_rules_are_separate_families(tiny_inputs: Path) -> None:
    entry = {**FACTS, "rule": ["mean", "candidate_sum"]}
    plan = plan_of(tiny_inputs, {"score": "magnitude", "sparsity": 0.5}, evaluations=[entry])
    jobs = [job for job in plan.jobs if isinstance(job, CompareJob)]
    assert [[evaluation.task.scoring_rule for evaluation, _ in job.pairs] for job in jobs] == [
        ["mean"] * 2,
        ["candidate_sum"] * 2,
    ]
    assert len([job for job in plan.jobs if isinstance(job, RankConsistencyJob)]) == 4
