"""Points drawn at random, by TPE and in order."""

import sys
from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.capabilities.search.strategy.level_units import LevelUnits
from mlprune.capabilities.search.strategy.method import Budget, ItemBudget, Settings, VariantBudget, winner
from mlprune.capabilities.search.strategy.methods.exhaustive import Exhaustive
from mlprune.capabilities.search.strategy.methods.random_points import RandomPoints
from mlprune.capabilities.search.strategy.methods.tpe import Tpe, TpeParameters, nearest_levels
from mlprune.capabilities.search.strategy.space import Axis, Point, Space
from mlprune.errors import RecipeError
from tests.refusals import refused
from tests.simulated_search import run_search


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_the_nearest_levels_are_those_of_a_complete_search(data: st.DataObject) -> None:
    n_units, n_levels = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    indices = st.lists(st.integers(0, n_levels - 1), min_size=n_units, max_size=n_units)
    weights = data.draw(st.lists(st.sampled_from([1, 2, 5]), min_size=n_units, max_size=n_units))
    wanted, reached = data.draw(indices), data.draw(indices)
    target = sum(weight * level for weight, level in zip(weights, reached, strict=True))
    best = min(
        (
            levels
            for levels in product(range(n_levels), repeat=n_units)
            if sum(weight * level for weight, level in zip(weights, levels, strict=True)) == target
        ),
        key=lambda levels: (sum(abs(a - b) for a, b in zip(levels, wanted, strict=True)), levels),
    )
    assert nearest_levels(wanted, weights, n_levels=n_levels, target=target) == best


UNITS = LevelUnits(tuple("abc"), (1, 1, 2), (0.3, 0.5, 0.7), 0.5)
WITH_TOTAL = Space((Axis("score", ("wanda", "ria")),), UNITS)
TPE = Settings(parameters=TpeParameters(startup=3), batch=3, rung_items=(10,))


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with refused(RecipeError, expected="pip install -e '.[search]'"):
        Tpe(WITH_TOTAL, TPE)


@pytest.mark.thorough("draws many searches")
def test_every_point_with_the_total_is_asked_once_until_the_space_is_finished() -> None:
    pytest.importorskip("optuna")
    history = run_search(Tpe(WITH_TOTAL, TPE), TPE, lambda point, _: -inf if point[0] else float(point[1]))
    assert sorted(trial.point for trial in history) == list(WITH_TOTAL.points())


def test_the_same_history_gives_the_same_points_and_the_seed_changes_them() -> None:
    pytest.importorskip("optuna")
    settings = replace(TPE, budget=VariantBudget(6))
    points = [
        [trial.point for trial in run_search(Tpe(WITH_TOTAL, one), one, lambda point, _: float(point[1]))]
        for one in (settings, settings, replace(settings, seed=1))
    ]
    assert points[0] == points[1] != points[2]
    assert len(points[0]) == 6


@pytest.mark.thorough("draws many searches")
def test_the_estimator_finds_better_points_than_random_search() -> None:
    pytest.importorskip("optuna")
    space = Space((), LevelUnits(tuple("abcdef"), (1,) * 6, (0.3, 0.4, 0.5, 0.6)))
    settings = replace(TPE, batch=4, budget=VariantBudget(32))
    found, drawn = (
        max(
            trial.objective
            for trial in run_search(method(space, settings), settings, lambda point, _: float(sum(point)))
        )
        for method in (Tpe, RandomPoints)
    )
    assert found > drawn


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
def test_a_random_search_ends_with_the_budget_or_the_space(budget: Budget, n_asked: int) -> None:
    assert points_with(replace(SETTINGS, budget=budget)) == points_with(SETTINGS)[:n_asked]
