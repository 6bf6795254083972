"""Intervals have ordered ends and know what they contain; p-values are never 0."""

import math
from fractions import Fraction

import numpy as np
import pytest

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.clusters import (
    Interval,
    check_level,
    cluster_codes,
    cluster_sums,
    exact_products,
    exactly_summable,
    positive_p_values,
    ratio_estimate,
    shared_cluster_codes,
)
from tests.refusals import refused


def test_an_interval_contains_both_of_its_ends() -> None:
    interval = Interval(-0.25, 0.5)
    assert interval.width == 0.75
    assert [interval.contains(value) for value in (-0.26, -0.25, 0.0, 0.5, 0.51)] == [False, True, True, True, False]


@pytest.mark.parametrize("ends", [(0.5, 0.25), (math.nan, 1.0), (0.0, math.nan)])
def test_ends_in_the_wrong_order_and_missing_ends_are_errors(ends: tuple[float, float]) -> None:
    with pytest.raises(PermanentError):
        Interval(*ends)


@pytest.mark.parametrize("level", [0.0, 1.0, math.nan])
def test_a_level_is_a_probability_between_0_and_1(level: float) -> None:
    check_level(0.95)
    with pytest.raises(BadInputError):
        check_level(level)


def test_a_p_value_that_underflows_is_small_and_not_zero() -> None:
    p_values = positive_p_values(np.array([0.0, 0.25, 1.0 + 1e-15]))
    assert 0 < p_values[0] < 1e-300
    assert p_values[1:].tolist() == [0.25, 1.0]


GENERATOR = np.random.default_rng(0)


def test_clusters_are_numbered_by_first_occurrence_and_empty_labels_are_alone() -> None:
    assert cluster_codes(["b", "a", "", "b", "", "a", "c"]).tolist() == [0, 1, 2, 0, 3, 1, 4]


def test_clusters_of_several_samples_are_numbered_together() -> None:
    names, codes = shared_cluster_codes([("b", "a", "b"), (), ("c", "a")])
    assert names == ("b", "a", "c")
    assert [of_sample.tolist() for of_sample in codes] == [[0, 1, 0], [], [2, 1]]
    assert cluster_sums(np.ones((3, 1)), codes[0], n_clusters=3).tolist() == [[2.0], [1.0], [0.0]]


def test_cluster_sums_equal_loops() -> None:
    values, codes = GENERATOR.normal(size=(9, 3)), np.array([0, 1, 0, 2, 2, 2, 1, 0, 3])
    expected = [[sum(values[i, k] for i in range(9) if codes[i] == c) for k in range(3)] for c in range(4)]
    assert cluster_sums(values, codes) == pytest.approx(np.array(expected))


def test_clusters_of_other_items_are_an_error() -> None:
    for values, codes in [
        (np.ones((2, 1)), np.array([0])),
        (np.ones(2), np.zeros(2, int)),
        (np.ones((0, 1)), np.zeros(0, int)),
    ]:
        with pytest.raises(ShapeError):
            cluster_sums(values, codes)


def test_sums_on_the_grid_are_exact_in_any_order() -> None:
    values = np.stack([GENERATOR.normal(size=300) * 1e9, GENERATOR.random(300) / 3, np.zeros(300)], axis=1)
    rounded = exactly_summable(values, 300)
    assert np.abs(rounded - values).max() < 1e-3
    assert np.abs(rounded[:, 1] - values[:, 1]).max() < 1e-13
    coefficients = GENERATOR.integers(-1, 2, size=(600, 300), dtype=np.int8)
    products = exact_products(coefficients, rounded)
    order = GENERATOR.permutation(300)
    assert np.array_equal(products, exact_products(coefficients[:, order], rounded[order]))
    for row in (0, 299, 599):
        for column in range(3):
            terms = zip(coefficients[row].tolist(), rounded[:, column].tolist(), strict=True)
            assert Fraction(float(products[row, column])) == sum(Fraction(c) * Fraction(v) for c, v in terms)


def test_integers_and_halves_stay_as_they_are() -> None:
    values = np.array([[3.0, 0.5], [70000.0, 1.0], [-1.0, 0.25]])
    assert np.array_equal(exactly_summable(values, 5000), values)


def test_a_statistic_that_is_not_finite_is_an_error() -> None:
    for value in (math.nan, math.inf):
        with refused(PermanentError, n_wrong=1):
            exactly_summable(np.array([[1.0], [value]]), 2)


def test_the_ratio_and_its_error_equal_the_formula() -> None:
    d, m = np.array([1.0, 0.0, -2.0, 1.5, 0.0]), np.array([1.0, 2.0, 3.0, 2.0, 0.0])
    estimate = ratio_estimate(d, m)
    ratio = 0.5 / 8
    spread = sum((a - ratio * b) ** 2 for a, b in zip(d[:4], m[:4], strict=True))
    assert estimate.value == pytest.approx(ratio)
    assert estimate.standard_error == pytest.approx(math.sqrt(4 / 3 * spread) / 8)
    assert estimate.n_clusters == 4
    assert math.isinf(ratio_estimate(np.array([1.0]), np.array([2.0])).standard_error)


def test_with_clusters_of_one_item_the_error_is_that_of_a_mean() -> None:
    values = GENERATOR.normal(size=20)
    assert ratio_estimate(values, np.ones(20)).standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(20))


def test_impossible_clusters_are_an_error() -> None:
    with pytest.raises(ShapeError):
        ratio_estimate(np.ones(2), np.ones(3))
    for d, m in [([1.0, 1.0], [1.0, 0.0]), ([1.0], [-1.0]), ([0.0], [0.0]), ([math.nan], [1.0])]:
        with pytest.raises(PermanentError, match="impossible"):
            ratio_estimate(np.array(d), np.array(m))
