"""Random search."""

from dataclasses import replace

import pytest

from mlprune.search.method import Budget, ItemBudget, Settings, VariantBudget
from mlprune.search.methods.random_points import RandomPoints
from mlprune.search.space import Axis, Point, Space
from tests.simulated_search import run_search

SPACE = Space((Axis("a", (1, 2, 3)), Axis("b", (1, 2, 3))))
SETTINGS = Settings(batch=4, rung_items=(10,))


def points_with(settings: Settings) -> list[Point]:
    """Points of a search, as asked."""
    return [trial.point for trial in run_search(RandomPoints(SPACE, settings), settings, lambda *_: 0.0)]


def test_every_point_is_asked_once_in_an_order_that_depends_on_the_seed() -> None:
    points = points_with(SETTINGS)
    assert sorted(points) == list(SPACE.points())
    assert points_with(replace(SETTINGS, seed=1)) not in (points, list(SPACE.points()))


def test_the_size_of_the_batches_changes_no_trial() -> None:
    assert points_with(replace(SETTINGS, batch=1)) == points_with(SETTINGS) == points_with(replace(SETTINGS, batch=9))


@pytest.mark.parametrize(("budget", "n_asked"), [(VariantBudget(6), 6), (ItemBudget(59), 5), (VariantBudget(99), 9)])
def test_the_search_ends_with_the_budget_or_the_space(budget: Budget, n_asked: int) -> None:
    assert points_with(replace(SETTINGS, budget=budget)) == points_with(SETTINGS)[:n_asked]
