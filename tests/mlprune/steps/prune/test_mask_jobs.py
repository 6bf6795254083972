"""Jobs that make the variants of a recipe, their shared orderings, and their costs, counted by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.units.unit_masks import units_cost
from mlprune.errors import RecipeError
from mlprune.methods import SCORES
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning import Plan, build_plan
from mlprune.pruning.spec import ScoreSpec
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.job import SMALL_JOB_BYTES, Job, SetSize, block_flops
from mlprune.steps.observe.statistics import ObserveJob
from mlprune.steps.prune.block_values import OutliersJob
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import CollectVariantsJob, MethodCost, OrderBlockJob, ordering_cost
from mlprune.steps.prune.sweep import SweepJob, sweep_cost
from tests.mlprune.steps.job_costs import N_WEIGHTS, SET_TOKENS, costs_by_class
from tests.tiny_models import HIDDEN
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
    ids = {one.id for one in collect.variants}
    assert ids == set(list(plan.variants)[1:]) == {key[1] for key in collect.also_made_elsewhere}
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
    random = {"score": "random", "sparsity": [0.25, 0.5], "seed": [0, 1]}
    half = {"score": "magnitude", "sparsity": 0.5}
    halves = [half, {**half, "removes": "highest"}, {**half, "scope": {"blocks": 0}}]
    mt = [{**entry, "demonstrations": "mt"} for entry in (WANDA, CONTRAST)]
    plan = plan_of(tiny_inputs, *mt, random, {"score": "magnitude", "structure": "2:4"}, *halves)
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
    union = {"name": "ab", "combine": "union", "of": ["a", "b"]}
    plan = plan_of(tiny_inputs, union, {**WANDA, "name": "a"}, {**WANDA, "name": "b", "score": "ria"})
    (job,) = of_kind(plan, CombineJob)
    parents = list(plan.variants)[1:3]
    assert job.needs == tuple(("variants", one) for one in parents)


@pytest.mark.thorough("runs a model for every case")
def test_more_sparsities_than_a_byte_can_distinguish_are_refused_in_one_line(tiny_inputs: Path) -> None:
    many = [round(number / 1000, 3) for number in range(1, 257)]
    assert len(plan_of(tiny_inputs, {"score": "magnitude", "sparsity": many[:255]}).variants) == 256
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, {"score": "magnitude", "sparsity": many})
    assert (caught.value.context["expected"], caught.value.context["got"][:3]) == ("at most 255", "256")


def test_a_sweep_runs_every_block_twice_over_all_its_sets_and_keeps_their_states(tiny_plan: Plan) -> None:
    for job, cost in costs_by_class(tiny_plan, SweepJob):
        n_sets = len(job.variant.set_ids) + (job.variant.contrast_set_id is not None)
        assert cost.flops == 2 * 2 * n_sets * SET_TOKENS * N_WEIGHTS
        assert cost.fixed_bytes > SMALL_JOB_BYTES + n_sets * SET_TOKENS * HIDDEN * 4
        assert cost.thread_bytes > 0


def test_a_sweep_that_changes_weights_stores_them(method_plan: Plan) -> None:
    sweeps = costs_by_class(method_plan, SweepJob)
    changing = [cost.disk_bytes for job, cost in sweeps if job.variant.weights_changed]
    masking = [cost.disk_bytes for job, cost in sweeps if not job.variant.weights_changed]
    assert min(changing) > max(masking) > 0
    assert min(changing) > 4 * N_WEIGHTS


def test_a_sweep_needs_the_memory_per_weight_that_its_score_declares(tiny_inputs: Path) -> None:
    sizes = replace(footprint(tiny_inputs / "model", "float32"), prunable=(10**6, 1000))
    sparsegpt, alps = (
        sweep_cost(
            "sweep",
            sizes,
            SetSize(1, 1),
            batch_tokens=1,
            score=ScoreSpec(name, "matrix"),
            method=MethodCost(changes_weights=True),
        )
        for name in ("sparsegpt", "alps")
    )
    assert alps.thread_bytes - sparsegpt.thread_bytes == SCORES["alps"].bytes_per_weight * 10**6 > 0
    plain, dense = (
        ordering_cost("prune", sizes, n_sparsities=1, method=MethodCost(bytes_per_weight=each)) for each in (0, 72)
    )
    assert dense.thread_bytes - plain.thread_bytes == 72 * 10**6


def test_a_sweep_with_regional_gradients_takes_as_long_as_five_more_passes(tiny_inputs: Path) -> None:
    sizes = footprint(tiny_inputs / "model", "float32")
    options: dict[str, Any] = {"batch_tokens": 1, "score": ScoreSpec("wanda", "matrix")}
    plain, gradients = (
        sweep_cost("sweep", sizes, SetSize(10, 1), method=MethodCost(needs), **options)
        for needs in (("squares",), ("squares", "gradients"))
    )
    assert gradients.flops - plain.flops == 5 * block_flops(sizes, 10)


def test_gradients_of_each_set_and_their_combination_are_in_memory(tiny_inputs: Path) -> None:
    sizes = footprint(tiny_inputs / "model", "float32")
    plain, with_gradients = (
        ordering_cost("prune", sizes, n_sparsities=1, method=MethodCost(needs, n_sets=2))
        for needs in ((), ("gradients",))
    )
    assert with_gradients.fixed_bytes - plain.fixed_bytes == 4 * 3 * sum(sizes.prunable)


def test_the_sums_of_features_of_a_set_are_in_memory_until_its_moments_are_known(tiny_inputs: Path) -> None:
    """Two float64 per feature and demonstration, in an ordering, a sweep and the choice of units."""
    sizes, needs = footprint(tiny_inputs / "model", "float32"), ("sums",)
    expected = 2 * 8 * 50 * sizes.inputs
    without, of_sums = (MethodCost(names, n_demonstrations=50) for names in ((), needs))
    orderings = [ordering_cost("prune", sizes, n_sparsities=1, method=method) for method in (without, of_sums)]
    assert orderings[1].fixed_bytes - orderings[0].fixed_bytes == expected
    units = [units_cost("prune", sizes, method=method) for method in (without, of_sums)]
    assert units[1].thread_bytes - units[0].thread_bytes == expected
    size, score = SetSize(10, 50), ScoreSpec("wanda")
    sweeps = [
        sweep_cost("sweep", sizes, size, batch_tokens=1, score=score, method=method) for method in (without, of_sums)
    ]
    assert sweeps[1].fixed_bytes - sweeps[0].fixed_bytes == expected


def test_ordering_outliers_and_combinations_need_memory_per_thread(method_plan: Plan) -> None:
    for job_class in (OrderBlockJob, OutliersJob, CombineJob):
        assert all(cost.thread_bytes >= N_WEIGHTS / 3 for _, cost in costs_by_class(method_plan, job_class))


def test_permuting_the_inputs_needs_memory_for_a_matrix_of_groups(tiny_plan: Plan) -> None:
    sizes = footprint(Path(tiny_plan.model.path), "float32")
    plain, permuted, wide = (
        ordering_cost("prune", sizes, n_sparsities=1, permuted_group=group) for group in (None, 4, 8)
    )
    extra = permuted.thread_bytes - plain.thread_bytes
    assert extra == 8 * 16 * 64 + 2 * 8 * (64 // 4) ** 2
    assert plain.thread_bytes < wide.thread_bytes < permuted.thread_bytes


def test_a_combination_costs_more_with_more_parents(method_plan: Plan) -> None:
    for job, cost in costs_by_class(method_plan, CombineJob):
        assert cost.thread_bytes == (len(job.variant.parent_ids) + 2) * N_WEIGHTS // 3
