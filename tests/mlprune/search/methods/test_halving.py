"""Successive halving."""

from collections import Counter
from dataclasses import replace

import pytest

from mlprune.search.method import Budget, ItemBudget, Settings, VariantBudget, n_items_spent, winner
from mlprune.search.methods.halving import Halving, HalvingParameters
from mlprune.search.space import Axis, Space
from tests.simulated_search import evaluate_batch, run_search

SPACE = Space((Axis("a", tuple(range(40))),))
SETTINGS = Settings(parameters=HalvingParameters(eta=4), rung_items=(64, 256, 1024, 2000))


def test_the_best_quarter_goes_on_at_each_rung() -> None:
    history = run_search(Halving(SPACE, SETTINGS), SETTINGS, lambda point, rung: -abs(point[0] - 20 - rung))
    assert [trial.point[0] for trial in history if trial.rung == 1] == list(range(15, 25))
    assert [trial.point[0] for trial in history if trial.rung == 2] == [20, 21]
    assert Counter(trial.rung for trial in history) == {0: 40, 1: 10, 2: 2, 3: 1}
    best = winner(history)
    assert best is not None
    assert best.parent is not None
    assert history[best.parent].point == best.point
    assert best.n_new_items == 976


def test_ties_are_broken_by_number_and_infeasible_candidates_come_last() -> None:
    settings = replace(SETTINGS, rung_items=(64, 2000))
    history = run_search(
        Halving(SPACE, settings), settings, lambda *_: 1.0, violation=lambda point: 0.1 * (point[0] % 2 == 0)
    )
    assert [trial.point[0] for trial in history if trial.rung == 1] == list(range(1, 20, 2))


@pytest.mark.parametrize(
    "budget", [ItemBudget(2000), ItemBudget(2064), ItemBudget(5000), ItemBudget(9999), VariantBudget(7)]
)
@pytest.mark.parametrize("reuses_items", [True, False])
def test_the_budget_is_kept_and_the_last_rung_is_reached(budget: Budget, reuses_items: bool) -> None:
    settings = replace(SETTINGS, budget=budget, reuses_items=reuses_items)
    history = run_search(Halving(SPACE, settings), settings, lambda point, _: point[0])
    assert history[-1].rung == 3
    if isinstance(budget, ItemBudget):
        assert n_items_spent(history) <= budget.n_items
    else:
        assert len({trial.point for trial in history}) == budget.n_variants


def test_candidates_of_a_budget_depend_on_the_seed() -> None:
    settings = replace(SETTINGS, budget=VariantBudget(8))
    asked = [Halving(SPACE, replace(settings, seed=seed)).ask(()) for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    assert {len({trial.point for trial in batch}) for batch in asked} == {8}


def test_decisions_are_the_promotions() -> None:
    method = Halving(SPACE, SETTINGS)
    batch = evaluate_batch(method.ask(()), (), SETTINGS, objective=lambda point, _: point[0], violation=lambda _: 0.0)
    kept = [trial.point for trial, one in zip(batch, method.decide((), batch), strict=True) if one.is_kept]
    assert kept == [trial.point for trial in method.ask(batch)] == [(index,) for index in range(30, 40)]
