"""Costs of making masks, counted by hand for the tiny model."""

from dataclasses import replace
from pathlib import Path

from mlprune.methods import SCORES
from mlprune.models.placement.memory_estimate import footprint
from mlprune.plan import Plan
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.job import SMALL_JOB_BYTES, SetSize, block_flops
from mlprune.steps.prune.block_values import OutliersJob
from mlprune.steps.prune.combine import CombineJob
from mlprune.steps.prune.ordering import MethodCost, OrderBlockJob, ordering_cost
from mlprune.steps.prune.sweep import SweepJob, sweep_cost
from mlprune.steps.prune.units import units_cost
from tests.mlprune.steps.job_costs import N_WEIGHTS, SET_TOKENS, costs_by_class
from tests.tiny_models import HIDDEN


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
        sweep_cost("sweep", sizes, SetSize(1, 1), batch_tokens=1, score=ScoreSpec(name, "matrix"), changes_weights=True)
        for name in ("sparsegpt", "alps")
    )
    assert alps.thread_bytes - sparsegpt.thread_bytes == SCORES["alps"].bytes_per_weight * 10**6 > 0
    plain, dense = (
        ordering_cost("prune", sizes, n_sparsities=1, method=MethodCost(bytes_per_weight=each)) for each in (0, 72)
    )
    assert dense.thread_bytes - plain.thread_bytes == 72 * 10**6


def test_a_sweep_with_regional_gradients_takes_as_long_as_five_more_passes(tiny_inputs: Path) -> None:
    sizes = footprint(tiny_inputs / "model", "float32")
    plain, gradients = (
        sweep_cost(
            "sweep",
            sizes,
            SetSize(10, 1),
            batch_tokens=1,
            score=ScoreSpec("wanda", "matrix"),
            changes_weights=False,
            method=MethodCost(needs),
        )
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
        sweep_cost("sweep", sizes, size, batch_tokens=1, score=score, changes_weights=False, method=method)
        for method in (without, of_sums)
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
