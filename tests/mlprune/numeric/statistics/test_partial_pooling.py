"""Partial pooling against plain loops, its limits, and coverage in simulations."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate, stats

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.statistics.partial_pooling import given_deviations, partial_pooling
from tests.refusals import refused

VALUES = np.array([0.28, 0.08, -0.03, 0.07, -0.01, 0.18])
ERRORS = np.array([0.15, 0.1, 0.16, 0.11, 0.09, 0.11])
SHARED = np.outer(ERRORS, ERRORS) * (0.4 + 0.6 * np.eye(6))


def plain_posterior(values: np.ndarray, errors: np.ndarray, deviation: float) -> tuple[float, list[float], list[float]]:
    """Density, means and standard errors of independent groups by the formulas of the textbook, item by item."""
    variances = [error**2 + deviation**2 for error in errors]
    precision = sum(1 / variance for variance in variances)
    mean = sum(value / variance for value, variance in zip(values, variances, strict=True)) / precision
    density = precision**-0.5
    for value, variance in zip(values, variances, strict=True):
        density *= variance**-0.5 * math.exp(-((value - mean) ** 2) / (2 * variance))
    means, spreads = [], []
    for value, error in zip(values, errors, strict=True):
        own = error**2 / (error**2 + deviation**2)
        means.append((1 - own) * value + own * mean)
        spreads.append(math.sqrt((1 - own) * error**2 + own**2 / precision))
    return density, means, spreads


@pytest.mark.parametrize("deviation", [0.01, 0.1, 2.0])
def test_given_the_deviation_effects_are_those_of_the_textbook(deviation: float) -> None:
    got = given_deviations(VALUES, np.diag(ERRORS**2), deviations=np.array([deviation, 0.07]))
    densities = []
    for row, each in enumerate((deviation, 0.07)):
        density, means, spreads = plain_posterior(VALUES, ERRORS, each)
        assert got.effects[row] == pytest.approx(means)
        assert got.errors[row] == pytest.approx(spreads)
        densities.append(density)
    assert got.log_likelihoods[0] - got.log_likelihoods[1] == pytest.approx(math.log(densities[0] / densities[1]))


def test_correlated_errors_are_those_of_the_joint_normal_distribution() -> None:
    """With a prior of the mean that is wide but proper, effects have the mean and variance of a conditional normal."""
    deviation, wide = 0.1, 30.0
    of_effects = deviation**2 * np.eye(6) + wide**2
    gain = of_effects @ np.linalg.inv(of_effects + SHARED)
    got = given_deviations(VALUES, SHARED, deviations=np.array([deviation]))
    assert got.effects[0] == pytest.approx(gain @ VALUES, abs=1e-5)
    assert got.errors[0] == pytest.approx(np.sqrt(np.diag(of_effects - gain @ of_effects)), abs=1e-5)


def test_the_integral_over_the_deviation_is_that_of_a_numerical_library() -> None:
    got = partial_pooling(VALUES, np.diag(ERRORS**2))

    def integral(weight: Callable[[float], float]) -> float:
        def product(t: float) -> float:
            return plain_posterior(VALUES, ERRORS, t)[0] * weight(t) * typical / (typical + t) ** 2

        return sum(integrate.quad(product, *ends, limit=200)[0] for ends in ((0, 0.1), (0.1, 1), (1, math.inf)))

    def of_group(deviation: float, group: int) -> tuple[float, float]:
        _, means, spreads = plain_posterior(VALUES, ERRORS, deviation)
        return means[group], spreads[group]

    typical = math.sqrt(6 / sum(1 / error**2 for error in ERRORS))
    total = integral(lambda _: 1.0)
    for group in (0, 2):
        mean = integral(lambda t, g=group: of_group(t, g)[0])  # type: ignore[misc]
        assert got.effects[group] == pytest.approx(mean / total, abs=1e-4)
        interval = got.intervals[group]
        for end, share in ((interval.low, 0.025), (interval.high, 0.975)):
            below = integral(lambda t, g=group, x=end: float(stats.norm.cdf(x, *of_group(t, g))))  # type: ignore[misc]
            assert below / total == pytest.approx(share, abs=2e-4)
    assert integral(lambda t: float(t < got.deviation)) / total == pytest.approx(0.5, abs=0.005)


def test_without_variation_between_groups_all_effects_are_the_mean_and_with_much_they_are_the_values() -> None:
    none, much = (given_deviations(VALUES, SHARED, deviations=np.array([each])) for each in (1e-6, 1e6))
    assert none.effects[0] == pytest.approx(np.full(6, none.means[0]), abs=1e-6)
    assert none.errors[0] == pytest.approx(np.full(6, none.mean_errors[0]), abs=1e-6)
    assert much.effects[0] == pytest.approx(VALUES, abs=1e-6)
    assert much.errors[0] == pytest.approx(ERRORS, abs=1e-6)


def test_estimates_are_between_the_values_and_the_mean_and_shift_and_scale_with_them() -> None:
    covariance = np.diag(ERRORS**2)
    got, moved = partial_pooling(VALUES, covariance), partial_pooling(3 * VALUES - 1, 9 * covariance)
    assert (np.abs(got.effects - got.mean) < np.abs(VALUES - got.mean)).all()
    assert moved.effects == pytest.approx(3 * got.effects - 1)
    assert moved.new_interval.high == pytest.approx(3 * got.new_interval.high - 1)
    assert moved.deviation_interval.high == pytest.approx(3 * got.deviation_interval.high)
    assert got.new_interval.low < got.mean_interval.low < got.mean < got.mean_interval.high < got.new_interval.high


def test_a_value_without_an_error_cannot_be_pooled() -> None:
    with refused(PermanentError, index=2):
        partial_pooling(VALUES, np.diag([0.1, 0.1, 0.0, 0.1, 0.1, 0.1]))


def test_two_values_cannot_be_pooled() -> None:
    with refused(ShapeError, got=((2,), (2, 2))):
        partial_pooling(VALUES[:2], SHARED[:2, :2])


@pytest.mark.parametrize("deviation", [0.0, 0.05, 0.3])
def test_intervals_cover_the_true_effects_and_estimates_are_closer_to_them_than_values(deviation: float) -> None:
    generator = np.random.default_rng(7)
    factor, n = np.linalg.cholesky(SHARED), 150
    covered = n_new = 0
    squares = np.zeros(2)
    for _ in range(n):
        effects = 0.1 + deviation * generator.standard_normal(6)
        values = effects + factor @ generator.standard_normal(6)
        got = partial_pooling(values, SHARED)
        covered += sum(one.contains(float(effect)) for one, effect in zip(got.intervals, effects, strict=True))
        n_new += got.new_interval.contains(0.1 + deviation * float(generator.standard_normal()))
        squares += ((got.effects - effects) ** 2).sum(), ((values - effects) ** 2).sum()
    assert covered / (6 * n) > 0.92
    assert n_new / n > 0.92
    assert squares[0] < squares[1]
