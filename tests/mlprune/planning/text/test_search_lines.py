"""Lines on searches."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.models.placement.memory_estimate import footprint
from mlprune.planning.resources.search_costs import SearchCost, search_costs
from mlprune.planning.text.search_lines import search_lines
from tests.search_recipes import search_recipe
from tests.tiny_recipes import plan_of, write_recipe


@pytest.fixture(scope="module")
def cost(tiny_inputs: Path) -> SearchCost:
    plan = plan_of(write_recipe(tiny_inputs, search_recipe(), name="described.yaml"))
    return search_costs(plan, footprint(Path(plan.model.path), plan.model.dtype))[0]


def test_a_search_is_described_rung_by_rung(cost: SearchCost) -> None:
    few = replace(cost.rungs[0], n_items=4, batches=(16, 8), n_scored=8)
    assert search_lines([replace(cost, rungs=(few, *cost.rungs))], lambda rung: 60.0 * rung.n_trials) == [
        "search blocks: random, at most 30 trials of 7 points",
        "  4 items: 24 trials, 192 items over all languages, about 24 min",
        "  all 10 items: 6 trials, 120 items over all languages, about 6 min",
        "  report: 3 variants and dense on test, about 3 min",
        "  whole search: about 33 min; start-up, statistics, masks and small jobs not included",
    ]


def test_variants_with_the_levels_of_a_winner_come_later(cost: SearchCost) -> None:
    later = "  1 variant entry with the winner's levels: planned when the search has finished"
    assert search_lines([replace(cost, n_searched=1)], lambda _rung: None)[-1] == later
    costed = replace(cost, n_searched=1, searched=replace(cost.rungs[0], batches=(2,)))
    line = search_lines([costed], lambda rung: 60.0 * rung.n_trials)[-1]
    assert line.endswith("levels: about 2 min, planned when the search has finished")
    finished = replace(cost, n_searched=2, search=replace(cost.search, is_finished=True))
    assert search_lines([finished], lambda _rung: None)[-1].endswith("not made: the search has no winner")


def test_unknown_times_are_not_made_up(cost: SearchCost) -> None:
    lines = search_lines([replace(cost, report=None)], lambda _rung: None)
    assert len(lines) == 3
    assert all("time unknown" in line for line in lines[1:])
