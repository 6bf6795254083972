"""Additive model of trials."""

from itertools import product
from math import inf

import pytest

from mlprune.search.main_effects import fit_main_effects
from mlprune.search.trials import EvaluatedTrial


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
