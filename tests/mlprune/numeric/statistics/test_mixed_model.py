"""Mixed model: compared with exact integration, and on simulated answers with known effects."""

import math

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy import optimize

from mlprune.errors import BadInputError, ShapeError
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.mixed_model import MixedModel, fit_mixed_logistic

N_ITEMS, N_LANGUAGES = 80, 4


def simulated(effect: float, *, seed: int = 0) -> MixedModel:
    """Two methods on the same items in four languages, the second one better by `effect` in log odds."""
    generator = np.random.default_rng(seed)
    grid = np.meshgrid(np.arange(2), np.arange(N_LANGUAGES), np.arange(N_ITEMS), indexing="ij")
    method, language, item = (codes.reshape(-1) for codes in grid)
    items = 1.5 * generator.normal(size=N_ITEMS)
    odds = effect * method + np.array([-0.5, 0.0, 0.2, 0.6])[language] + items[item]
    right = generator.random(len(odds)) < 1 / (1 + np.exp(-odds))
    fixed = {"intercept": np.ones(len(odds)), "second": method.astype(np.float64)}
    nothing: NDArray[np.int64] = np.full(len(odds), -1)
    return fit_mixed_logistic(right, fixed, {"item": item, "language": language, "seed": nothing})


def test_a_planted_effect_and_the_deviation_of_items_are_found() -> None:
    model = simulated(1.5)
    effect = model.fixed[1]
    assert effect.name == "second"
    assert effect.interval.low > 0.5
    assert effect.interval.contains(1.5)
    deviations = {factor.name: (factor.deviation, factor.n_levels) for factor in model.random}
    assert set(deviations) == {"item", "language"}
    assert deviations["item"] == (pytest.approx(1.5, abs=0.35), N_ITEMS)
    assert model.n == 2 * N_LANGUAGES * N_ITEMS


@pytest.mark.slow
def test_intervals_cover_equal_methods() -> None:
    """Of 40 simulations, 95 % cover 0 with an error of 3.4 points."""
    intervals = [simulated(0.0, seed=seed).fixed[1].interval for seed in range(40)]
    assert sum(interval.contains(0.0) for interval in intervals) >= 34


def exact_fit(counts: Array, n: int) -> tuple[float, float]:
    """Intercept and standard deviation that maximise the likelihood of one factor, integrated numerically."""
    nodes, weights = hermegauss(40)

    def loss(parameters: Array) -> float:
        odds = parameters[0] + math.exp(parameters[1]) * nodes
        chances = np.exp(counts[:, None] * odds - n * np.logaddexp(0, odds))
        return -float(np.log(chances @ weights / math.sqrt(2 * math.pi)).sum())

    result = optimize.minimize(loss, np.zeros(2), method="Nelder-Mead")
    return float(result.x[0]), math.exp(float(result.x[1]))


def test_one_factor_has_the_estimates_of_exact_integration() -> None:
    generator, n = np.random.default_rng(1), 12
    chances = 1 / (1 + np.exp(-(0.5 + 1.2 * generator.normal(size=150))))
    right = generator.random((150, n)) < chances[:, None]
    item = np.repeat(np.arange(150), n)
    model = fit_mixed_logistic(right.reshape(-1), {"intercept": np.ones(len(item))}, {"item": item})
    intercept, deviation = exact_fit(right.sum(axis=1).astype(np.float64), n)
    assert model.fixed[0].value == pytest.approx(intercept, abs=0.05)
    assert model.random[0].deviation == pytest.approx(deviation, rel=0.06)


def test_a_factor_without_variation_has_almost_no_deviation() -> None:
    generator = np.random.default_rng(2)
    right = generator.random(600) < 0.5
    model = fit_mixed_logistic(right, {"intercept": np.ones(600)}, {"item": np.arange(600) % 4})
    assert model.random[0].deviation < 0.15


def test_a_method_without_any_right_answer_has_a_finite_effect() -> None:
    right = np.array([True, False] * 20 + [False] * 40)
    second = np.repeat([0.0, 1.0], 40)
    model = fit_mixed_logistic(right, {"intercept": np.ones(80), "second": second}, {"item": np.arange(80) % 20})
    assert -20 < model.fixed[1].value < -2


def test_answers_that_determine_no_model_are_errors() -> None:
    one, levels = np.ones(4), np.array([0, 1, 0, 1])
    with pytest.raises(BadInputError, match="all answers are equal"):
        fit_mixed_logistic(np.array([True] * 4), {"intercept": one}, {"item": levels})
    with pytest.raises(BadInputError, match="no random factor"):
        fit_mixed_logistic(np.array([True, False] * 2), {"intercept": one}, {"item": np.zeros(4, dtype=np.int64)})
    with pytest.raises(ShapeError, match="different lengths"):
        fit_mixed_logistic(np.array([True, False]), {"intercept": one}, {"item": levels})
