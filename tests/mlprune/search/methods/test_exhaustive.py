"""Exhaustive search."""

from dataclasses import replace

import pytest

from mlprune.search.method import Budget, ItemBudget, Settings, VariantBudget, winner
from mlprune.search.methods.exhaustive import Exhaustive
from mlprune.search.space import Axis, Space
from tests.simulated_search import run_search

SPACE = Space((Axis("a", (1, 2, 3)), Axis("b", (1, 2, 3))))
SETTINGS = Settings(batch=4, rung_items=(10,))


def test_every_point_is_asked_in_lexicographic_order() -> None:
    history = run_search(Exhaustive(SPACE, SETTINGS), SETTINGS, lambda point, _: -abs(sum(point) - 3))
    assert [trial.point for trial in history] == list(SPACE.points())
    best = winner(history)
    assert best is not None
    assert best.point == (1, 2)


@pytest.mark.parametrize(("budget", "n_asked"), [(VariantBudget(6), 6), (ItemBudget(59), 5), (VariantBudget(99), 9)])
def test_the_search_ends_with_the_budget_or_the_space(budget: Budget, n_asked: int) -> None:
    settings = replace(SETTINGS, budget=budget)
    history = run_search(Exhaustive(SPACE, settings), settings, lambda point, _: 0.0)
    assert [trial.point for trial in history] == list(SPACE.points())[:n_asked]
