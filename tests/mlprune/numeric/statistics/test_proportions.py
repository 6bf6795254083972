"""Wilson's interval, effective sizes and the test against chance: against scipy, loops and published examples."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.proportions import (
    chance_p_value,
    effective_size,
    majority_share,
    poisson_binomial,
    wilson_interval,
    wilson_intervals,
)


def exact_coverage(n: int, chances: np.ndarray) -> np.ndarray:
    right = np.arange(n + 1)
    low, high = wilson_intervals(right, n)
    is_covered = (low <= chances[:, None]) & (chances[:, None] <= high)
    return (stats.binom.pmf(right, n, chances[:, None]) * is_covered).sum(axis=1)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((81, 263), (0.2553, 0.3662)), ((15, 148), (0.0624, 0.1605)), ((0, 20), (0.0, 0.1611)), ((1, 29), (None, 0.1718))],
)
def test_examples_of_newcombe(counts: tuple[int, int], expected: tuple[float | None, float]) -> None:
    """Statistics in Medicine 17 (1998) 857-872, table I, method 3; the low end of 1 in 29 is modified."""
    interval = wilson_interval(*counts)
    assert expected[0] in (None, round(interval.low, 4))
    assert round(interval.high, 4) == expected[1]


def test_away_from_the_ends_the_interval_is_that_of_scipy() -> None:
    for right in range(4, 147):
        expected = stats.binomtest(right, 150).proportion_ci(method="wilson")
        interval = wilson_interval(right, 150)
        assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_near_the_ends_a_poisson_count_with_the_end_as_its_mean_reaches_the_observed_one_in_5_percent() -> None:
    for right in (1, 2, 3):
        mean = 150 * wilson_interval(right, 150).low
        assert stats.poisson.sf(right - 1, mean) == pytest.approx(0.05, rel=1e-9)
        assert 150 * (1 - wilson_interval(150 - right, 150).high) == pytest.approx(mean, rel=1e-9)


def test_an_interval_has_a_width_where_all_or_no_items_are_right() -> None:
    assert wilson_interval(150, 150).high == 1.0
    assert round(wilson_interval(150, 150).low, 4) == 0.9750
    assert wilson_interval(0, 150).low == 0.0
    assert round(wilson_interval(0, 150).high, 4) == 0.0250


@pytest.mark.parametrize("n", [10, 150])
def test_coverage_is_exact_on_average_and_never_below_91_percent(n: int) -> None:
    near_the_end = exact_coverage(n, np.geomspace(0.001 / n, 0.5, 800))
    assert near_the_end.min() > 0.91
    assert 0.94 < exact_coverage(n, np.linspace(0.001, 0.999, 500)).mean() < 0.97


def test_one_more_right_item_moves_both_ends_up() -> None:
    low, high = wilson_intervals(np.arange(61), 60)
    assert (np.diff(low) > 0).all()
    assert (np.diff(high) > 0).all()


def test_effective_sizes_may_be_fractions() -> None:
    assert wilson_interval(10, 40).width < wilson_interval(5.05, 20.2).width < wilson_interval(5, 20).width
    low, high = wilson_intervals([0.3, 0.7], 0.7)
    assert ((low >= 0) & (low < high) & (high <= 1)).all()


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (0, 0), (math.nan, 5), (1, math.nan)])
def test_impossible_counts_are_errors(counts: tuple[float, float]) -> None:
    with pytest.raises(BadInputError):
        wilson_interval(*counts)
    with pytest.raises(BadInputError):
        wilson_interval(1, 2, level=0.0)


def test_independent_items_keep_their_number() -> None:
    credit = np.array([1.0, 0.0, 1.0, 0.5])
    assert effective_size(credit, np.arange(4)) == 4.0


def test_the_effective_size_follows_its_formula() -> None:
    credit, clusters = np.array([1, 1, 0, 0, 1, 1, 0, 1], float), np.array([0, 0, 1, 1, 1, 2, 3, 0])
    n, p, sizes = 8, 5 / 8, [3, 3, 1, 1]
    sums = [sum(credit[i] - p for i in range(n) if clusters[i] == c) for c in range(4)]
    effect = 4 / 3 * sum(s * s for s in sums) / (n / (n - 1) * n * p * (1 - p))
    alike, weight = sum(m * m for m in sizes) / n, 16 * 3
    shrunk = (alike * alike + weight * max(1, effect)) / (alike + weight)
    freedom = max(1, sum(m * m for m in sizes) ** 2 / sum(m**4 for m in sizes) - 1)
    ratio = stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, freedom)
    assert effect > 1
    assert effective_size(credit, clusters) == pytest.approx(n / shrunk * ratio**2, rel=1e-9)


def test_if_all_items_are_right_a_cluster_counts_as_one_item() -> None:
    """Before the adjustment for the number of clusters, 50 clusters of three are 50 items."""
    clusters = np.repeat(np.arange(50), 3)
    size = effective_size(np.ones(150), clusters)
    assert size == pytest.approx(50 * (stats.t.ppf(0.975, 149) / stats.t.ppf(0.975, 49)) ** 2, rel=1e-9)
    assert effective_size(np.zeros(150), clusters) == size


def test_alike_items_of_a_cluster_count_less_than_unlike_ones() -> None:
    clusters = np.repeat(np.arange(40), 2)
    alike, unlike = np.repeat(np.arange(40) % 2, 2).astype(float), np.tile([0.0, 1.0], 40)
    assert effective_size(alike, clusters) < 42
    assert 70 < effective_size(unlike, clusters) < 80
    assert 0 < effective_size(unlike, np.zeros(80, np.int64)) < 1


def test_the_poisson_binomial_distribution_is_the_sum_over_all_outcomes() -> None:
    chances = np.array([0.2, 0.5, 0.2, 0.9, 1.0, 0.0])
    expected = np.zeros(7)
    for outcome in itertools.product((0, 1), repeat=6):
        expected[sum(outcome)] += math.prod(p if hit else 1 - p for p, hit in zip(chances, outcome, strict=True))
    np.testing.assert_allclose(poisson_binomial(chances), expected, rtol=1e-12, atol=1e-300)


def test_items_with_equal_chances_have_a_binomial_test() -> None:
    for n_right in (0, 1, 30, 90, 150):
        credit = (np.arange(150) < n_right).astype(float)
        p_value = chance_p_value(credit, np.full(150, 0.174), np.arange(150))
        assert p_value == pytest.approx(stats.binom.sf(n_right - 1, 150, 0.174), rel=1e-9)


def test_items_with_different_numbers_of_candidates_have_their_own_chances() -> None:
    chances = np.array([1 / 2, 1 / 3, 1 / 5, 1 / 5])
    p_value = chance_p_value(np.array([1.0, 1.0, 1.0, 0.0]), chances, np.arange(4))
    three = 1 / 2 * 1 / 3 * 2 * (1 / 5 * 4 / 5) + (1 / 2 * 2 / 3 + 1 / 2 * 1 / 3) * 1 / 25
    assert p_value == pytest.approx(three + 1 / 2 * 1 / 3 * 1 / 25, rel=1e-12)


def test_clusters_and_shared_credit_are_tested_by_sign_flips_of_clusters() -> None:
    credit, clusters = np.array([1.0, 0.5, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 2, 2])
    sums = [1.5 - 0.5, 1.0 - 0.25, 1.0 - 0.5]
    totals = [sum(s * d for s, d in zip(signs, sums, strict=True)) for signs in itertools.product((1, -1), repeat=3)]
    expected = sum(total >= sum(sums) - 1e-12 for total in totals) / 8
    assert chance_p_value(credit, np.full(5, 0.25), clusters) == expected


def test_the_p_value_of_the_most_clustered_answers_is_at_least_one_in_ten_thousand() -> None:
    clusters = np.repeat(np.arange(40), 2)
    assert chance_p_value(np.ones(80), np.full(80, 0.25), clusters) == 1e-4
    assert chance_p_value(np.zeros(80), np.full(80, 0.25), clusters) == 1.0


def test_no_p_value_against_chance_is_zero() -> None:
    assert 0 < chance_p_value(np.ones(3000), np.full(3000, 0.25), np.arange(3000)) < 1e-300


def test_credit_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ShapeError):
        effective_size(np.ones(3), np.arange(4))
    with pytest.raises(ShapeError):
        chance_p_value(np.ones(0), np.ones(0), np.arange(0))
    with pytest.raises(PermanentError):
        chance_p_value(np.ones(2), np.array([0.5, 1.5]), np.arange(2))
    with pytest.raises(PermanentError):
        effective_size(np.array([0.5, math.nan]), np.arange(2))


def test_the_majority_class_is_the_most_frequent_right_answer() -> None:
    assert majority_share(["yes", "no", "yes", "maybe"]) == 0.5
    with pytest.raises(PermanentError):
        majority_share([])
