"""Jobs that make the variants of a recipe, and their shared orderings."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.plan import Plan, build_plan
from mlprune.recipe import parse_recipe
from mlprune.steps.job import Job
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.steps.prune.block_values import OutliersJob
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import CollectVariantsJob, OrderBlockJob
from mlprune.steps.prune.sweep import SweepJob
from tests.tiny_recipes import tiny_recipe

WANDA = {"demonstrations": "mono", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
CONTRAST = {**WANDA, "score": "contrast", "contrast": "code"}
OVER = {**WANDA, "demonstrations": None, "over": ["mt"], "aggregate": "mean"}
OWL = {**WANDA, "schedule": "owl"}


def plan_of(folder: Path, *variants: dict[str, Any]) -> Plan:
    recipe = {**tiny_recipe(), "variants": list(variants), "evaluations": []}
    return build_plan(parse_recipe(recipe, folder=folder))


def of_kind(plan: Plan, kind: type[Job]) -> list[Any]:
    return [job for job in plan.jobs if isinstance(job, kind)]


def test_one_ordering_has_all_sparsities_of_a_recipe(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, *({**WANDA, "sparsity": one} for one in (0.5, 0.1, 0.3)))
    (collect,) = of_kind(plan, CollectVariantsJob)
    blocks = of_kind(plan, OrderBlockJob)
    assert [one.sparsity for one in collect.variants] == [0.1, 0.3, 0.5]
    assert [(job.block, job.ordering.sparsities) for job in blocks] == [(block, (0.1, 0.3, 0.5)) for block in range(3)]
    assert (
        {one.id for one in collect.variants}
        == set(list(plan.variants)[1:])
        == {key[1] for key in collect.also_made_elsewhere}
    )
    assert collect.needs == tuple(job.makes[0] for job in blocks)


@pytest.mark.parametrize("structure", ["row", "matrix"])
@pytest.mark.parametrize("schedule", ["uniform", "owl", {"blocks": {0: 0.25}}])
def test_sparsities_share_an_ordering_under_every_schedule(tiny_inputs: Path, structure: str, schedule: Any) -> None:
    plan = plan_of(tiny_inputs, {**WANDA, "structure": structure, "schedule": schedule, "sparsity": [0.3, 0.5]})
    assert [len(job.variants) for job in of_kind(plan, CollectVariantsJob)] == [2]


def test_alpha_has_an_ordering_for_each_sparsity(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**WANDA, "structure": "alpha", "sparsity": [0.3, 0.5]})
    assert [len(job.variants) for job in of_kind(plan, CollectVariantsJob)] == [1, 1]


def test_sets_seeds_and_structures_have_separate_orderings(tiny_inputs: Path) -> None:
    plan = plan_of(
        tiny_inputs,
        {**WANDA, "demonstrations": "mt"},
        {**CONTRAST, "demonstrations": "mt"},
        {"score": "random", "sparsity": [0.25, 0.5], "seed": [0, 1]},
        {"score": "magnitude", "structure": "2:4"},
        {"score": "magnitude", "sparsity": 0.5},
        {"score": "magnitude", "sparsity": 0.5, "removes": "highest"},
        {"score": "magnitude", "sparsity": 0.5, "scope": {"blocks": 0}},
    )
    sizes = [len(job.variants) for job in of_kind(plan, CollectVariantsJob)]
    assert sorted(sizes) == [1] * 8 + [2] * 2


def test_every_sparsity_of_sequential_propagation_is_a_sweep(tiny_inputs: Path) -> None:
    sequential = {"propagation": "sequential", "demonstrations": "mt"}
    plan = plan_of(tiny_inputs, {**WANDA, **sequential, "sparsity": [0.1, 0.3]}, {**CONTRAST, **sequential})
    sweeps = of_kind(plan, SweepJob)
    assert len(sweeps) == 6
    assert [len(job.needs) for job in sweeps] == [1] * 4 + [2] * 2
    assert not of_kind(plan, OrderBlockJob)


def test_a_sweep_over_several_sets_needs_them_all(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, {**OVER, "over": ["mt", "mono"], "propagation": "sequential"})
    (sweep,) = of_kind(plan, SweepJob)
    assert sweep.needs == tuple(("demonstration_sets", one) for one in sweep.variant.set_ids)
    assert len(set(sweep.needs)) == 3


@pytest.mark.parametrize(
    "entry",
    [
        {**WANDA, "samples": [1, 2, 3], "resample": [0, 1, 2]},
        {**WANDA, "score": ["wanda", "ria"], "structure": ["row", "matrix", "2:4", "alpha"]},
        {**WANDA, "removes": ["lowest", "highest"], "schedule": ["uniform", "owl"]},
        {**OVER, "aggregate": ["mean", "max", "variance", "pooled"], "resample": 1},
        {**CONTRAST, "samples": 2},
    ],
)
def test_no_further_pass_of_the_model_serves_them_in_dense_propagation(
    tiny_inputs: Path, entry: dict[str, Any]
) -> None:
    entry = {key: value for key, value in entry.items() if key != "sparsity" or entry.get("structure") is None}
    entry = {"sparsity": 0.5, **entry}
    plain = plan_of(tiny_inputs)
    plan = plan_of(tiny_inputs, entry)
    assert len(plan.variants) > 1
    assert of_kind(plan, ObserveJob) == of_kind(plain, ObserveJob)
    assert not of_kind(plan, SweepJob)


def test_other_token_scopes_and_the_paper_profile_are_observed_separately(tiny_inputs: Path) -> None:
    plain = of_kind(plan_of(tiny_inputs), ObserveJob)
    plan = plan_of(tiny_inputs, {**WANDA, "tokens": ["all", "source", "last_shot"]}, {**WANDA, "profile": "paper"})
    jobs = of_kind(plan, ObserveJob)
    assert jobs[: len(plain)] == plain
    assert [job.token_scope for job in jobs[len(plain) :]] == ["source", "last_shot", "all"]
    own = {job.demonstration_set_id for job in plain}
    assert [job.demonstration_set_id in own for job in jobs[len(plain) :]] == [True, True, False]


def test_a_sweep_observes_for_itself_but_owl_reads_the_dense_model(tiny_inputs: Path) -> None:
    plain = of_kind(plan_of(tiny_inputs), ObserveJob)
    sequential = {"propagation": "sequential", "tokens": "last_shot"}
    assert of_kind(plan_of(tiny_inputs, {**WANDA, **sequential}), ObserveJob) == plain
    plan = plan_of(tiny_inputs, {**OWL, **sequential})
    assert len(of_kind(plan, ObserveJob)) == len(plain) + 1
    (outliers,), (sweep,) = of_kind(plan, OutliersJob), of_kind(plan, SweepJob)
    assert outliers.identity.key in sweep.needs
    assert outliers.needs == (of_kind(plan, ObserveJob)[-1].identity.key,)


def test_outlier_ratios_serve_all_variants_that_read_the_same(tiny_inputs: Path) -> None:
    plan = plan_of(
        tiny_inputs, {**OWL, "sparsity": [0.3, 0.5], "score": ["wanda", "ria"], "propagation": ["dense", "sequential"]}
    )
    assert len(plan.variants) == 9
    assert len(of_kind(plan, OutliersJob)) == 1
    others = plan_of(tiny_inputs, OWL, {**OWL, "schedule": {"kind": "owl", "m": 3}}, {**OWL, "samples": 2})
    assert len(of_kind(others, OutliersJob)) == 3


def test_a_combination_is_planned_after_its_parents(tiny_inputs: Path) -> None:
    plan = plan_of(
        tiny_inputs,
        {"name": "ab", "combine": "union", "of": ["a", "b"]},
        {**WANDA, "name": "a"},
        {**WANDA, "name": "b", "score": "ria"},
    )
    (job,) = of_kind(plan, CombineJob)
    parents = list(plan.variants)[1:3]
    assert job.needs == tuple(("variants", one) for one in parents)


def test_more_sparsities_than_a_byte_can_distinguish_are_refused_in_one_line(tiny_inputs: Path) -> None:
    many = [round(number / 1000, 3) for number in range(1, 257)]
    assert len(plan_of(tiny_inputs, {"score": "magnitude", "sparsity": many[:255]}).variants) == 256
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, {"score": "magnitude", "sparsity": many})
    assert (caught.value.context["expected"], caught.value.context["got"][:3]) == ("at most 255", "256")
