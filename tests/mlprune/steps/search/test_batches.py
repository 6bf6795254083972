"""Batches that a search is expected to ask for."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.search.method import ItemBudget, VariantBudget
from mlprune.search.methods.halving import HalvingParameters
from mlprune.steps.search.batches import forecast_batches
from mlprune.steps.search.spec import SearchSpec
from tests.mlprune.steps.search.test_from_recipe import spec_of


@pytest.fixture(scope="module")
def spec(tiny_inputs: Path) -> SearchSpec:
    """A random search over 27 points."""
    return spec_of(tiny_inputs, levels={"values": [0.25, 0.5, 0.75]})


def test_a_method_without_rungs_asks_for_full_batches_until_its_budget_or_space_ends(spec: SearchSpec) -> None:
    def sizes(changed: SearchSpec) -> list[int]:
        return [batch.n_trials for batch in forecast_batches(changed)]

    assert sizes(replace(spec, budget=VariantBudget(18))) == [8, 8, 2]
    assert sizes(replace(spec, budget=VariantBudget(16))) == [8, 8]
    assert sizes(replace(spec, budget=VariantBudget(99))) == [8, 8, 8, 3]
    assert sizes(replace(spec, budget=None, method="exhaustive", batch=20)) == [20, 7]
    assert sizes(replace(spec, budget=ItemBudget(3 * spec.n_scored(None) + 1))) == [3]


def test_halving_asks_for_a_quarter_at_every_rung(spec: SearchSpec) -> None:
    parameters = HalvingParameters(eta=4)
    halving = replace(
        spec, method="halving", method_parameters=parameters, rungs=(2, 4, None), budget=VariantBudget(16)
    )
    assert forecast_batches(halving) == ((0, 16), (1, 4), (2, 1))
