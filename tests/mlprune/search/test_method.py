"""Budgets of a search."""

from dataclasses import replace

from mlprune.search.method import ItemBudget, Settings, VariantBudget, best_so_far, n_items_spent, points_of
from mlprune.search.trials import EvaluatedTrial

TRIAL = EvaluatedTrial(0, (0,), 0, None, n_items=64, n_new_items=64, objective=0.5, violation=0.0)
HISTORY = (TRIAL, replace(TRIAL, number=1, point=(1,)), replace(TRIAL, number=2, rung=1, n_items=256, n_new_items=192))
SETTINGS = Settings(rung_items=(64, 256, 1000))


def test_items_of_lower_rungs_are_scored_once() -> None:
    assert SETTINGS.n_new_items(2, after=None) == 1000
    assert SETTINGS.n_new_items(2, after=1) == 744
    assert replace(SETTINGS, reuses_items=False).n_new_items(2, after=1) == 1000
    assert SETTINGS.last_rung == 2


def test_a_budget_of_variants_counts_different_points() -> None:
    assert points_of(HISTORY) == ((0,), (1,))
    settings = replace(SETTINGS, budget=VariantBudget(3))
    assert settings.n_affordable(HISTORY, 2) == 1
    assert replace(settings, budget=VariantBudget(1)).n_affordable(HISTORY, 0) == 0


def test_a_budget_of_items_counts_items_that_were_scored() -> None:
    assert n_items_spent(HISTORY) == 320
    settings = replace(SETTINGS, budget=ItemBudget(1000))
    assert [settings.n_affordable(HISTORY, rung) for rung in range(3)] == [10, 2, 0]
    assert replace(settings, budget=ItemBudget(100)).n_affordable(HISTORY, 0) == 0
    assert SETTINGS.n_affordable(HISTORY, 0) is None


def test_the_best_trial_so_far_is_kept() -> None:
    better = replace(TRIAL, number=3, objective=0.7)
    worse = replace(TRIAL, number=4, objective=0.1)
    decisions = best_so_far((TRIAL,), (better, worse))
    assert [decision.is_kept for decision in decisions] == [True, False]
    assert "3" in decisions[1].reason
    assert [decision.is_kept for decision in best_so_far((TRIAL,), (worse,))] == [False]
