"""Searches whose objective is a distance from the dense model."""

import functools
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.distance.dense_states import KIND
from mlprune.errors import RecipeError
from mlprune.planning import extend_plan, pending_jobs
from mlprune.store.store import Store
from tests.mlprune.capabilities.search.played_search import search_recipe, trial_rows, write_more_facts
from tests.refusals import refused
from tests.tiny_recipes import chain_of_model, copied_inputs, plan_of, write_recipe

SEARCH: dict[str, Any] = {
    "name": "near",
    "base": {"score": "magnitude"},
    "levels": {"per": "block", "values": [0.0, 0.5]},
    "minimise": "divergence(outside_english)",
    "where": "top_agreement(english) >= 0.1",
    "budget": {"variants": 4},
    "method": {"kind": "halving", "eta": 2},
    "rungs": [4],
}


def recipe_of(folder: Path, **keys: Any) -> Path:
    """Write a recipe with the search, whose evaluations have some keys."""
    recipe = search_recipe(SEARCH)
    recipe["evaluations"] = [{**entry, **keys} for entry in recipe["evaluations"]]
    return write_recipe(folder, recipe, name="near.yaml")


@pytest.mark.thorough("evaluates the trials of a search")
def test_a_search_minimises_the_divergence_and_each_rung_has_states_of_its_own(
    tiny_inputs: Path, tmp_path: Path
) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path)
    write_more_facts(folder)
    store, plan = Store(tmp_path / "store"), plan_of(recipe_of(folder, distance=True))
    chain = functools.cache(chain_of_model)
    while pending := pending_jobs((plan := extend_plan(plan, store)).jobs, store):
        for job in pending:
            job.run(store, lambda: chain(plan.model))
    rows = trial_rows(store)
    assert len(rows) >= 4
    for row in rows:
        assert 0 <= row["objective"] < 1
    assert len(list(store.records(KIND))) == 2 * 2 + 2


def test_a_search_for_a_distance_needs_the_key(tiny_inputs: Path, tmp_path: Path) -> None:
    folder = copied_inputs(tiny_inputs, tmp_path)
    write_more_facts(folder)
    with refused(RecipeError):
        plan_of(recipe_of(folder))
