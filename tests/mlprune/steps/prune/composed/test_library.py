"""Level libraries: what they have in common with the variants that they compose, and what they cannot compose."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.inputs import open_inputs
from mlprune.steps.prune.composed.library import Library, composed_levels, library_of
from mlprune.steps.prune.ordering import CollectVariantsJob, OrderBlockJob
from mlprune.steps.prune.variant import ScoredVariant
from tests.composed_variants import LEVELS, WANDA
from tests.tiny_recipes import method_recipe


def plan_of(folder: Path, *variants: dict[str, Any]) -> Plan:
    recipe = {**method_recipe(), "variants": list(variants), "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


def library(plan: Plan, levels: tuple[float, ...] = LEVELS) -> Library:
    return library_of(plan.recipe, open_inputs(plan.recipe), list(plan.variants.values())[1], levels)


def scored(plan: Plan) -> ScoredVariant:
    """The first variant that is not dense."""
    spec = list(plan.variants.values())[1].spec
    assert isinstance(spec, ScoredVariant)
    return spec


@pytest.mark.parametrize("place", [{}, {"schedule": {"blocks": {1: 0.1}}}, {"scope": {"blocks": [1]}, "sparsity": 0.9}])
def test_the_library_of_any_trial_is_the_ordering_of_a_uniform_entry(tiny_inputs: Path, place: dict[str, Any]) -> None:
    by_hand = plan_of(tiny_inputs, {**WANDA, "sparsity": list(LEVELS)})
    made = library(plan_of(tiny_inputs, {**WANDA, **place}), (0.75, 0.25, 0.0, 0.5, 0.25))
    (collect,) = (job for job in by_hand.jobs if isinstance(job, CollectVariantsJob))
    assert made.ordering == collect.ordering
    assert made.sparsities == LEVELS
    assert list(made.variants) == [variant.id for variant in collect.variants]
    assert [type(job) for job in made.jobs] == [OrderBlockJob] * 3 + [CollectVariantsJob]
    assert [job.makes for job in made.jobs] == [
        job.makes for job in by_hand.jobs if isinstance(job, OrderBlockJob | CollectVariantsJob)
    ]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"sparsity": 0.4, "scope": {"blocks": [1]}},
        {"schedule": {"layers": {"fc1": 0.1}}},
        {"schedule": "owl"},
        {"structure": "matrix", "scope": {"blocks": [1]}},
        {"samples": 2, "scope": {"blocks": [1]}},
        {"score": "ria", "scope": {"blocks": [1]}},
        {"propagation": "sequential", "scope": {"blocks": [1]}},
    ],
)
def test_other_sparsities_and_other_bases_are_not_composed(tiny_inputs: Path, other: dict[str, Any]) -> None:
    made = library(plan_of(tiny_inputs, WANDA))
    assert made.can_compose(scored(plan_of(tiny_inputs, {**WANDA, "scope": {"blocks": [1]}})))
    assert not made.can_compose(scored(plan_of(tiny_inputs, {**WANDA, **other})))


def test_only_pruned_layers_have_a_level(tiny_inputs: Path) -> None:
    schedule = {"block_layers": {"0.fc1": 0.75, "2.fc1": 0.0}, "layers": {"fc1": 0.25}}
    entry = {**WANDA, "schedule": schedule, "scope": {"layers": ["fc1", "fc2"]}}
    levels = composed_levels(scored(plan_of(tiny_inputs, entry)), LEVELS)
    assert levels == ({"fc1": 2, "fc2": 1}, {"fc1": 0, "fc2": 1}, {"fc2": 1})


def test_n_of_m_has_one_level(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**WANDA, "structure": "2:4", "scope": {"blocks": [1]}})
    made = library(plan)
    assert made.sparsities == (0.5,)
    assert made.can_compose(scored(plan))


@pytest.mark.parametrize(
    ("entry", "levels"),
    [
        ({"structure": "alpha"}, LEVELS),
        ({"propagation": "sequential"}, LEVELS),
        ({}, (0.0,)),
        ({"score": "sparsegpt", "propagation": "sequential"}, LEVELS),
    ],
)
def test_masks_that_cannot_be_composed_have_no_library(
    tiny_inputs: Path, entry: dict[str, Any], levels: tuple[float, ...]
) -> None:
    with pytest.raises(RecipeError):
        library(plan_of(tiny_inputs, {**WANDA, **entry}), levels)
