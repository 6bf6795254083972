"""Removal one by one as a function of the evaluated trials, against a plain loop."""

import hashlib
from collections.abc import Callable, Sequence

import pytest

from mlprune.capabilities.search.strategy.level_units import LevelUnits
from mlprune.capabilities.search.strategy.method import (
    Budget,
    EvaluatedTrial,
    ItemBudget,
    ProposedTrial,
    Settings,
    VariantBudget,
)
from mlprune.capabilities.search.strategy.methods.one_by_one import OneByOne, OneByOneParameters, last_kept
from mlprune.capabilities.search.strategy.space import Point, Space
from mlprune.errors import RecipeError

N_ITEMS = 10
Value = Callable[[Point], tuple[float, float]]
"""Point -> objective and violation."""


def method(n_units: int, *, units: int = 0, budget: Budget | None = None) -> OneByOne:
    space = Space((), LevelUnits(tuple(map(str, range(n_units))), (1,) * n_units, (0.0, 1.0)))
    return OneByOne(space, Settings(OneByOneParameters(units), rung_items=(N_ITEMS,), budget=budget))


def drawn(seed: int, *, n_values: int = 5) -> Value:
    """Objectives and violations with many ties, from a hash."""

    def value(point: Point) -> tuple[float, float]:
        digest = hashlib.sha256(f"{seed}:{point}".encode()).digest()
        return float(digest[0] % n_values), float(digest[1] % 3 == 0)

    return value


def searched(search: OneByOne, value: Value) -> list[EvaluatedTrial]:
    history: list[EvaluatedTrial] = []
    while asked := search.ask(history):
        assert search.ask(history) == asked
        history += [evaluated(one, value, number=len(history) + index) for index, one in enumerate(asked)]
    return history


def evaluated(asked: ProposedTrial, value: Value, *, number: int) -> EvaluatedTrial:
    objective, violation = value(asked.point)
    missed = ("bound",) if violation else ()
    return EvaluatedTrial(
        number, asked.point, asked.rung, asked.parent, N_ITEMS, N_ITEMS, objective, violation, missed=missed
    )


def plain_loop(n_units: int, value: Value, *, n_removed: int) -> tuple[list[Point], Point]:
    """The points that are tried, in order, and the last one that is kept."""
    tried: list[Point] = []
    kept: Point = (0,) * n_units
    for _ in range(n_removed):
        best: tuple[float, Point] | None = None
        for unit in range(n_units):
            if kept[unit]:
                continue
            point = tuple(1 if other == unit else flag for other, flag in enumerate(kept))
            tried.append(point)
            objective, violation = value(point)
            if not violation and (best is None or objective > best[0]):
                best = objective, point
        if best is None:
            break
        kept = best[1]
    return tried, kept


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_units", [2, 5])
def test_trials_and_winner_are_those_of_a_plain_greedy_loop(seed: int, n_units: int) -> None:
    value = drawn(seed)
    for units in range(n_units):
        history = searched(method(n_units, units=units), value)
        tried, kept = plain_loop(n_units, value, n_removed=units or n_units - 1)
        assert [trial.point for trial in history] == tried
        best = last_kept(history)
        assert (best.point if best else (0,) * n_units) == kept


@pytest.mark.parametrize(
    ("budget", "rounds"),
    [
        (VariantBudget(4), [4]),
        (VariantBudget(6), [4]),
        (VariantBudget(7), [4, 3]),
        (VariantBudget(99), [4, 3, 2]),
        (ItemBudget(7 * N_ITEMS), [4, 3]),
        (ItemBudget(7 * N_ITEMS - 1), [4]),
    ],
)
def test_a_budget_allows_whole_rounds(budget: Budget, rounds: Sequence[int]) -> None:
    history = searched(method(4, budget=budget), lambda point: (0.0, 0.0))
    assert [sum(sum(trial.point) == n for trial in history) for n in range(1, 1 + len(rounds))] == rounds
    assert len(history) == sum(rounds)


def test_one_trial_of_a_round_is_kept_and_the_reasons_name_constraints_and_values() -> None:
    search = method(4)
    values = {(1, 0, 0, 0): (9.0, 1.0), (0, 1, 0, 0): (1.0, 0.0), (0, 0, 1, 0): (2.0, 0.0), (0, 0, 0, 1): (2.0, 0.0)}
    batch = [evaluated(one, values.__getitem__, number=n) for n, one in enumerate(search.ask(()))]
    decisions = search.decide((), batch)
    assert [one.is_kept for one in decisions] == [False, False, True, False]
    assert ["bound" in one.reason for one in decisions] == [True, False, False, False]
    infinite = [evaluated(one, lambda _: (-float("inf"), 0.0), number=n) for n, one in enumerate(search.ask(()))]
    assert not any(one.is_kept for one in search.decide((), infinite))
    assert search.ask(infinite) == ()


@pytest.mark.parametrize(("n_units", "units"), [(1, 0), (1, 1), (3, 3)])
def test_one_unit_remains(n_units: int, units: int) -> None:
    with pytest.raises(RecipeError):
        method(n_units, units=units)


def test_a_budget_below_one_round_is_refused() -> None:
    with pytest.raises(RecipeError):
        method(4, budget=VariantBudget(3))
