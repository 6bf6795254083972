"""What a plan says about searches: trials, items and durations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search.batches import PlannedSearch
from mlprune.capabilities.search.plan_lines import Costing, SearchCost, search_lines
from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning import Plan
from mlprune.steps.demonstrate.writing import set_sizes
from mlprune.steps.job import block_flops
from tests.mlprune.capabilities.search.played_search import searched
from tests.search_recipes import BASE, REMOVAL, search_recipe
from tests.tiny_recipes import plan_of, write_recipe


def planned(folder: Path, **changes: Any) -> Plan:
    return plan_of(write_recipe(folder, search_recipe(**changes), name="costed.yaml"))


def costs_of(plan: Plan, *searches: PlannedSearch) -> list[SearchCost]:
    part, sizes = searched(plan), footprint(Path(plan.model.path), plan.model.dtype)
    costing = Costing(part.common, sizes, set_sizes(plan.jobs))
    return [costing.of_search(search) for search in searches or part.searches]


@pytest.fixture(scope="module")
def plan(tiny_inputs: Path) -> Plan:
    return planned(tiny_inputs)


@pytest.fixture(scope="module")
def cost(plan: Plan) -> SearchCost:
    return costs_of(plan)[0]


def lines_of(cost: SearchCost, seconds: float | None = None) -> list[str]:
    """The lines if a trial takes some seconds, or an unknown time."""
    return list(search_lines(cost, lambda rung: None if seconds is None else seconds * rung.n_trials))


def test_a_search_is_described_rung_by_rung(cost: SearchCost) -> None:
    few = replace(cost.rungs[0], n_items=4, batches=(16, 8), n_scored=8)
    assert lines_of(replace(cost, rungs=(few, *cost.rungs)), 60.0) == [
        "search blocks: random, at most 30 trials of 7 points",
        "  4 items: 24 trials, 192 items over all languages, about 24 min",
        "  all 10 items: 6 trials, 120 items over all languages, about 6 min",
        "  report: 3 variants and dense on test, about 3 min",
        "  whole search: about 33 min; start-up, statistics, masks and small jobs not included",
    ]


def test_variants_with_the_levels_of_a_winner_come_later(cost: SearchCost) -> None:
    later = "  1 variant entry with the winner's levels: planned when the search has finished"
    assert lines_of(replace(cost, n_searched=1))[-1] == later
    costed = replace(cost, n_searched=1, searched=replace(cost.rungs[0], batches=(2,)))
    line = lines_of(costed, 60.0)[-1]
    assert line.endswith("levels: about 2 min, planned when the search has finished")
    finished = replace(cost, n_searched=2, search=replace(cost.search, is_finished=True))
    assert lines_of(finished)[-1].endswith("not made: the search has no winner")


def test_unknown_times_are_not_made_up(cost: SearchCost) -> None:
    lines = lines_of(replace(cost, report=None))
    assert len(lines) == 3
    assert all("time unknown" in line for line in lines[1:])


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


def test_a_random_search_for_comparison_has_costs_and_no_report(plan: Plan) -> None:
    (search,) = searched(plan).searches
    rival = replace(search, spec=replace(search.spec, name="r"), is_reported=False)
    assert [cost.report is None for cost in costs_of(plan, search, rival)] == [False, True]


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
    (without,), (cost,) = (
        costs_of(plan),
        costs_of(plan_of(write_recipe(tiny_inputs, recipe, name="searched.yaml"))),
    )
    assert (without.n_searched, without.searched) == (0, None)
    assert cost.searched is not None
    assert (cost.n_searched, cost.searched.n_trials, cost.searched.n_dense) == (3, 3, 0)
    assert cost.searched.trial.flops > cost.rungs[0].trial.flops  # on dev and on test
    assert sorted(sweep.flops > 0 for sweep in cost.searched.sweeps) == [False, False, True]


REMOVED: dict[str, Any] = {**REMOVAL, "levels": None, "budget": None}


def test_a_search_that_removes_blocks_lists_its_rounds_and_shares_half_of_the_work(
    tiny_inputs: Path, cost: SearchCost
) -> None:
    (removal,) = costs_of(planned(tiny_inputs, **REMOVED))
    assert lines_of(removal, 60.0)[:2] == [
        "search depth: one_by_one, at most 5 trials of 3 units",
        "  all 10 items: 3 + 2 = 5 trials, 100 items over all languages, about 5 min",
    ]
    alone, together = cost.rungs[0].trial, removal.rungs[0].trial
    sizes = footprint(tiny_inputs / "model", "float32")
    saved = 1 - (5 + 2) / (5 * 3)  # 2 + 2 + 1 and 1 + 1 runs of a block, of 3 for each of 5 trials
    assert alone.flops - together.flops == pytest.approx(saved * block_flops(sizes, alone.n_tokens))
    many = replace(removal, rungs=(replace(removal.rungs[0], batches=(9, 8, 7, 6, 5)),))
    assert "9 + 8 + ... + 5 = 35 trials" in lines_of(many)[1]
