"""Additive model of trials."""

from collections import Counter
from dataclasses import replace
from itertools import product
from math import inf

import pytest

from mlprune.capabilities.search.strategy.level_units import LevelUnits
from mlprune.capabilities.search.strategy.method import (
    Budget,
    EvaluatedTrial,
    ItemBudget,
    Settings,
    VariantBudget,
    n_items_spent,
    winner,
)
from mlprune.capabilities.search.strategy.methods.evolution import Evolution, EvolutionParameters, fit_main_effects
from mlprune.capabilities.search.strategy.space import Axis, Point, Space
from tests.simulated_search import evaluate_batch, run_search


def trials_of(objectives: dict[tuple[int, ...], float], *, violation: float = 0.0) -> list[EvaluatedTrial]:
    """Trials with given objectives."""
    return [
        EvaluatedTrial(number, point, 0, None, n_items=1, n_new_items=1, objective=objective, violation=violation)
        for number, (point, objective) in enumerate(objectives.items())
    ]


def test_effects_follow_the_formula() -> None:
    """Three trials with targets 1/3, 0, -1/3, by plain loops."""
    points, targets = [(0, 1), (1, 1), (1, 0)], [1 / 3, 0.0, -1 / 3]
    fitted = fit_main_effects(trials_of(dict(zip(points, (9.0, 5.0, -inf), strict=True))), (2, 2))
    effects = [[0.0, 0.0], [0.0, 0.0]]
    for _ in range(10):
        for place in (0, 1):
            for index in (0, 1):
                left = [
                    t - effects[1 - place][p[1 - place]]
                    for p, t in zip(points, targets, strict=True)
                    if p[place] == index
                ]
                effects[place][index] = sum(left) / (len(left) + 1)
    for point in product((0, 1), repeat=2):
        assert fitted.score(point) == pytest.approx(effects[0][point[0]] + effects[1][point[1]], abs=1e-12)


def test_an_additive_objective_is_ranked_by_its_effects() -> None:
    gains = [(0.0, 0.3, 0.1), (0.2, 0.0, 0.7), (0.0, 0.01, 0.02)]
    objectives = {
        point: sum(gain[index] for gain, index in zip(gains, point, strict=True))
        for point in product(range(3), repeat=3)
    }
    fitted = fit_main_effects(trials_of(objectives), (3, 3, 3))
    assert max(objectives, key=fitted.score) == (1, 2, 2)
    assert min(objectives, key=fitted.score) == (0, 1, 0)


def test_infeasible_trials_rank_after_feasible_ones() -> None:
    fitted = fit_main_effects(trials_of({(0,): 1.0}) + trials_of({(1,): 9.0}, violation=0.1), (2,))
    assert fitted.score((0,)) > 0 > fitted.score((1,))


LEVELS = (0.3, 0.5, 0.7)
PLANTED = Space((), LevelUnits(tuple("0123"), (1, 1, 1, 1), LEVELS))
LOSSES = (0.0, 0.06, 0.15)
WITH_TOTAL = Space(
    (Axis("score", ("wanda", "ria", "magnitude")),), LevelUnits(tuple("abcdef"), (2, 1, 2, 1, 1, 1), LEVELS, 0.5)
)
SETTINGS = Settings(parameters=EvolutionParameters(), rung_items=(100,))


def planted(harmless: int, point: Point) -> float:
    """Accuracy of a model of four units, one of them harmless, minus a penalty for weights that are kept."""
    loss = sum(LOSSES[level] for unit, level in enumerate(point) if unit != harmless)
    return 0.8 - loss - 0.1 * (1 - sum(LEVELS[level] for level in point) / 4)


@pytest.mark.thorough("draws many searches")
def test_the_planted_optimum_is_found_with_a_third_of_the_evaluations() -> None:
    for seed in range(20):
        settings = replace(SETTINGS, seed=seed, batch=8, budget=VariantBudget(27))
        history = run_search(Evolution(PLANTED, settings), settings, lambda point, _: planted(seed % 4, point))  # noqa: B023
        best = winner(history)
        assert best is not None
        assert best.point == max(PLANTED.points(), key=lambda point: planted(seed % 4, point))
        assert len(history) <= PLANTED.n_points / 3


def test_the_total_stays_exactly_and_the_search_ends_with_the_space() -> None:
    settings, units = replace(SETTINGS, batch=5), LevelUnits(tuple("abcd"), (2, 1, 2, 1), LEVELS, 0.5)
    space = Space(WITH_TOTAL.axes[:0], units)
    history = run_search(Evolution(space, settings), settings, lambda point, _: -sum(point[2:]))
    assert sorted(trial.point for trial in history) == list(space.points())
    assert {space.sparsity(trial.point) for trial in history} == {0.5}
    assert history[0].point == units.uniform


def test_axes_alone_are_searched() -> None:
    space = Space((Axis("a", tuple(range(6))), Axis("b", tuple(range(6))), Axis("c", (1,))))
    settings = replace(SETTINGS, batch=4, budget=VariantBudget(20))
    history = run_search(Evolution(space, settings), settings, lambda point, _: -abs(point[0] - 4) - abs(point[1] - 3))
    assert len(history) == 20
    assert winner(history) == max(history, key=lambda trial: trial.objective)
    assert max(trial.objective for trial in history) >= -1


def test_parents_are_the_best_trials_so_far_and_children_differ_in_few_places() -> None:
    settings = replace(SETTINGS, batch=4, budget=VariantBudget(40))
    history = run_search(Evolution(WITH_TOTAL, settings), settings, lambda point, _: -sum(point[3:5]) + 0.1 * point[0])
    for trial in history[4:]:
        earlier = [other for other in history if other.number < trial.number - trial.number % 4]
        assert trial.parent == max(earlier, key=lambda other: (other.objective, -other.number)).number
    changes = [
        sum(a != b for a, b in zip(t.point, history[t.parent].point, strict=True))
        for t in history
        if t.parent is not None
    ]
    assert max(changes) <= 6
    assert min(changes) == 1


@pytest.mark.parametrize("budget", [ItemBudget(2000), ItemBudget(7777), VariantBudget(21)])
def test_generations_are_selected_over_the_rungs_within_the_budget(budget: Budget) -> None:
    settings = replace(SETTINGS, batch=16, rung_items=(64, 256, 1000), budget=budget)
    history = run_search(Evolution(WITH_TOTAL, settings), settings, lambda point, rung: -sum(point[3:5]) + rung)
    if isinstance(budget, ItemBudget):
        assert budget.n_items - 1000 < n_items_spent(history) <= budget.n_items
    else:
        assert Counter(trial.rung for trial in history) == {0: 16 + 5, 1: 4, 2: 2}
    best = winner(history)
    assert best is not None
    assert best.rung == 2


def test_the_parent_of_a_generation_was_evaluated_on_all_items() -> None:
    settings = replace(SETTINGS, batch=16, rung_items=(64, 256, 1000), budget=VariantBudget(32))
    history = run_search(Evolution(WITH_TOTAL, settings), settings, lambda point, _: -sum(point[3:5]))
    second = [trial for trial in history[16:] if trial.rung == 0]
    assert len(second) == 16
    assert {history[trial.parent or 0].rung for trial in second} == {2}
    promoted = [trial for trial in history if trial.rung > 0]
    assert all(history[trial.parent or 0].point == trial.point for trial in promoted)


def test_feasible_trials_win_over_infeasible_and_infinite_ones() -> None:
    settings = replace(SETTINGS, batch=8, budget=VariantBudget(40))
    history = run_search(
        Evolution(PLANTED, settings),
        settings,
        lambda point, _: -inf if point[0] == 1 else float(sum(point)),
        violation=lambda point: max(0.0, 0.1 * (point[1] - 1)),
    )
    best = winner(history)
    assert best is not None
    assert best.is_feasible
    assert best.point == (2, 1, 2, 2)


def test_a_space_without_feasible_points_gives_the_smallest_violation() -> None:
    settings = replace(SETTINGS, batch=8, budget=VariantBudget(40))
    history = run_search(
        Evolution(PLANTED, settings), settings, lambda *_: 0.0, violation=lambda point: 1.0 + sum(point)
    )
    best = winner(history)
    assert best is not None
    assert not best.is_feasible
    assert best.point == (0, 0, 0, 0)


def test_decisions_name_the_next_parent() -> None:
    method = Evolution(PLANTED, SETTINGS)
    history: list[EvaluatedTrial] = []
    for _ in range(2):
        batch = evaluate_batch(
            method.ask(history), history, SETTINGS, objective=lambda p, _: planted(0, p), violation=lambda _: 0.0
        )
        kept = [trial.number for trial, one in zip(batch, method.decide(history, batch), strict=True) if one.is_kept]
        history += batch
        assert kept == [number for number in [method.ask(history)[0].parent] if number in {t.number for t in batch}]
