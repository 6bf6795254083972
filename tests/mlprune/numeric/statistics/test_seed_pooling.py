"""Means over seeds: against scipy, and by simulation of items and seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from mlprune.errors import BadInputError
from mlprune.numeric.statistics.seed_pooling import StudentEstimate, pooled_over_seeds


@pytest.mark.parametrize("degrees", [3.7, math.inf])
def test_an_estimate_has_the_interval_and_the_tests_of_its_t_distribution(degrees: float) -> None:
    estimate = StudentEstimate(0.04, 0.015, degrees)
    distribution = stats.norm if math.isinf(degrees) else stats.t(degrees)
    low, high = distribution.interval(0.9)
    interval = estimate.interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((0.04 + low * 0.015, 0.04 + high * 0.015))
    assert estimate.p_value == pytest.approx(2 * distribution.sf(0.04 / 0.015))
    assert estimate.p_worse(0.01) == pytest.approx(distribution.sf(0.05 / 0.015))
    assert estimate.mirrored.p_worse(0.05) == pytest.approx(distribution.sf(0.01 / 0.015))


def test_the_test_of_a_margin_and_the_interval_agree() -> None:
    estimate = StudentEstimate(-0.004, 0.01, 6.0)
    edge = -estimate.interval(0.9).low
    assert estimate.p_worse(edge * 1.0001) < 0.05 < estimate.p_worse(edge * 0.9999)


def test_an_estimate_without_error_has_no_p_value_of_zero() -> None:
    certain = StudentEstimate(0.1, 0.0)
    assert 0 < certain.p_value < 1e-300
    assert StudentEstimate(0.0, 0.0).p_value == 1


def test_the_pooled_error_is_satterthwaites() -> None:
    values, item_error = np.array([0.01, 0.03, -0.02, 0.00]), 0.006
    of_seeds = np.var(values, ddof=1) / 4
    total = item_error**2 + of_seeds
    pooled = pooled_over_seeds(values, item_error, n_clusters=50)
    assert pooled.value == pytest.approx(0.005)
    assert pooled.standard_error == pytest.approx(math.sqrt(total))
    assert pooled.degrees_of_freedom == pytest.approx(total**2 / (item_error**4 / 49 + of_seeds**2 / 3))


def test_equal_seeds_leave_the_error_of_the_items() -> None:
    pooled = pooled_over_seeds(np.full(5, 0.02), 0.01, n_clusters=101)
    assert (pooled.standard_error, pooled.degrees_of_freedom) == (pytest.approx(0.01), pytest.approx(100))
    assert pooled_over_seeds(np.zeros(2), 0.0, n_clusters=2).standard_error == 0


def test_the_interval_covers_the_truth_if_items_and_seeds_vary() -> None:
    generator = np.random.default_rng(0)
    n_items, n_seeds, covered = 100, 5, 0
    for _ in range(400):
        items = generator.normal(0, 0.3, n_items)
        seeds = generator.normal(0, 0.04, (n_seeds, 1))
        answers = items + seeds + generator.normal(0, 0.2, (n_seeds, n_items))
        error = answers.mean(axis=0).std(ddof=1) / math.sqrt(n_items)
        interval = pooled_over_seeds(answers.mean(axis=1), float(error), n_clusters=n_items).interval(0.95)
        covered += interval.contains(0.0)
    assert 0.92 <= covered / 400 <= 0.99


@pytest.mark.parametrize(("n_seeds", "n_clusters"), [(1, 10), (3, 1)])
def test_one_seed_or_one_cluster_cannot_be_pooled(n_seeds: int, n_clusters: int) -> None:
    with pytest.raises(BadInputError):
        pooled_over_seeds(np.zeros(n_seeds), 0.1, n_clusters=n_clusters)
