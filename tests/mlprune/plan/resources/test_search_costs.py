"""Costs of the rungs of a search."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.models.placement.memory_estimate import footprint
from mlprune.plan import Plan
from mlprune.plan.resources.estimate import Needs, needs_of
from mlprune.plan.resources.node_capacity import Node, Pool
from mlprune.plan.resources.rates import Rates
from mlprune.plan.resources.search_costs import RungCost, SearchCost, search_costs
from mlprune.steps.job import JobCost
from tests.search_recipes import BASE, search_recipe
from tests.tiny_recipes import plan_of, write_recipe

RATES = Rates(1e9, 1e8)


def planned(folder: Path, **changes: Any) -> Plan:
    return plan_of(write_recipe(folder, search_recipe(**changes), name="costed.yaml"))


def costs_of(plan: Plan) -> tuple[SearchCost, ...]:
    return search_costs(plan, footprint(Path(plan.model.path), plan.model.dtype))


@pytest.fixture(scope="module")
def plan(tiny_inputs: Path) -> Plan:
    return planned(tiny_inputs)


@pytest.fixture(scope="module")
def needs(plan: Plan) -> Needs:
    return needs_of(plan, plan.jobs)


def pool_of(needs: Needs, n_workers: int) -> Pool:
    return replace(needs.pool([Node(2, 2**34)]), n_workers=n_workers)


def test_a_rung_counts_trials_and_items(plan: Plan) -> None:
    (cost,) = costs_of(plan)
    (rung,) = cost.rungs
    spec = cost.search.spec
    assert (rung.n_items, rung.n_trials, cost.n_trials) == (None, 6, 6)
    assert rung.n_items_scored == 6 * spec.n_scored(None)
    assert rung.sweeps == ()
    assert rung.trial.flops > 0
    assert cost.report is not None
    assert cost.report.n_trials == 3


def test_a_random_search_for_comparison_has_costs_and_no_report(tiny_inputs: Path, plan: Plan) -> None:
    assert plan.common is not None
    (search,) = plan.searches
    rival = replace(search, spec=replace(search.spec, name="r"), is_reported=False)
    assert [cost.report is None for cost in costs_of(replace(plan, searches=(search, rival)))] == [False, True]


def test_masks_with_sequential_propagation_cost_a_pass_each(tiny_inputs: Path) -> None:
    base = {key: value for key, value in BASE.items() if key != "propagation"}
    space = {"sparsity": [0.3, 0.6], "propagation": ["dense", "sequential"]}
    (cost,) = costs_of(planned(tiny_inputs, base=base, levels=None, space=space))
    assert len(cost.rungs[0].sweeps) == 4
    assert sorted(sweep.flops > 0 for sweep in cost.rungs[0].sweeps) == [False, False, True, True]


def test_entries_with_the_levels_of_the_winner_cost_their_masks_and_evaluations(tiny_inputs: Path, plan: Plan) -> None:
    schedule = {"schedule": {"kind": "search", "from": "blocks"}}
    swept = {**BASE, "name": "swept", "propagation": "sequential", **schedule}
    entries = [swept, {"name": "drawn", "score": "random", "seed": [0, 1], **schedule}]
    recipe = {**search_recipe(), "variants": entries}
    (without,), (cost,) = costs_of(plan), costs_of(plan_of(write_recipe(tiny_inputs, recipe, name="searched.yaml")))
    assert (without.n_searched, without.searched) == (0, None)
    assert cost.searched is not None
    assert (cost.n_searched, cost.searched.n_trials, cost.searched.n_dense) == (3, 3, 0)
    assert cost.searched.trial.flops > cost.rungs[0].trial.flops  # on dev and on test
    assert sorted(sweep.flops > 0 for sweep in cost.searched.sweeps) == [False, False, True]


def test_batches_run_one_after_another_and_their_trials_on_all_workers(needs: Needs) -> None:
    def seconds(*batches: int, n_workers: int = 1, sweeps: tuple[JobCost, ...] = ()) -> float:
        rung = RungCost(None, batches, 10, JobCost("evaluate", flops=1e9), sweeps)
        threads = pool_of(needs, n_workers).threads
        got = rung.seconds(needs, pool_of(needs, n_workers), RATES)
        assert got is not None
        return round(got * threads)

    assert seconds(8, 8, 2) == 1 + 18  # the dense model is evaluated once
    assert seconds(7, 8, n_workers=8) == 2
    assert seconds(1, 1, n_workers=8) == 2
    assert seconds(4, sweeps=(JobCost("sweep", flops=2e9), JobCost("sweep"))) == 5 + 4
