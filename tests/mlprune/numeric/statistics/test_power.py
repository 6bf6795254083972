"""Power: the published and audited numbers, sums over all outcomes, and the tests whose limits it states."""

import math

import pytest
from scipy import stats

from mlprune.errors import BadInputError
from mlprune.numeric.statistics import power
from mlprune.numeric.statistics.paired_proportions import (
    mcnemar_exact,
    mcnemar_mid_p,
    noninferiority_p_value,
    tango_p_value,
)


@pytest.mark.parametrize(("n_tests", "n_items"), [(318, 14), (6, 8), (1, 6)])
def test_of_150_items_14_must_change_in_a_family_of_318_tests_8_in_one_of_6_and_6_alone(
    n_tests: int, n_items: int
) -> None:
    assert power.smallest_significant_difference(150, n_tests=n_tests) == n_items / 150
    assert mcnemar_exact(n_items, 0) * n_tests < 0.05 <= mcnemar_exact(n_items - 1, 0) * n_tests


@pytest.mark.parametrize("n_tests", [1, 6, 318])
def test_the_smallest_significant_difference_belongs_to_the_test_of_the_p_values(n_tests: int) -> None:
    tango = power.smallest_significant_difference(150, n_tests=n_tests, test="tango")
    middle = power.smallest_significant_difference(150, n_tests=n_tests, test="mcnemar_mid_p")
    assert tango is not None and middle is not None  # noqa: PT018
    for n_items, significant in ((round(tango * 150), True), (round(tango * 150) - 1, False)):
        assert (tango_p_value(n_items, 0, 150) * n_tests < 0.05) == significant
    for n_items, significant in ((round(middle * 150), True), (round(middle * 150) - 1, False)):
        assert (mcnemar_mid_p(n_items, 0) * n_tests < 0.05) == significant


def test_too_few_items_cannot_be_significant() -> None:
    assert power.smallest_significant_difference(5) is None
    assert power.smallest_significant_difference(6) == 1.0
    assert power.detectable_difference_of_items(5, 0.2) is None


@pytest.mark.parametrize(
    ("n", "n_tests", "points"),
    [(150, 1, 10.6), (150, 6, 12.7), (150, 318, 16.0), (1000, 1, 4.0), (1000, 6, 5.0), (1000, 318, 6.5)],
)
def test_detectable_differences_at_20_percent_discordant_items(n: int, n_tests: int, points: float) -> None:
    difference = power.detectable_difference_of_items(n, 0.2, n_tests=n_tests)
    assert difference is not None
    assert 100 * difference == pytest.approx(points, abs=0.051)


def power_by_enumeration(n: int, share: float, difference: float) -> float:
    """Sum of the trinomial probabilities of all outcomes that McNemar's exact test rejects at 5 %."""
    p, q = (share + difference) / 2, (share - difference) / 2
    total = 0.0
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            if mcnemar_exact(gained, lost) < 0.05:
                ways = math.comb(n, gained) * math.comb(n - gained, lost)
                total += ways * p**gained * q**lost * (1 - share) ** (n - gained - lost)
    return total


@pytest.mark.parametrize("discordant_share", [0.0, 0.4])
def test_the_detectable_difference_has_the_stated_power(discordant_share: float) -> None:
    difference = power.detectable_difference_of_items(30, discordant_share, power=0.7)
    assert difference is not None
    share = max(difference, discordant_share)
    assert power_by_enumeration(30, share, difference) == pytest.approx(0.7, abs=1e-6)


def test_a_test_that_needs_more_than_a_normal_deviate_detects_less() -> None:
    normal = 1.959963984540054 * 0.01
    for n_tests in (1, 6):
        expected = power.detectable_difference(0.01, n_tests=n_tests)
        assert power.detectable_beyond(normal, 0.01, n_tests=n_tests) == pytest.approx(expected)
    assert power.detectable_beyond(2 * normal, 0.01) == pytest.approx(power.detectable_difference(0.01) + normal)


def test_the_difference_of_an_estimate_follows_the_normal_distribution() -> None:
    expected = (stats.norm.isf(0.05 / 12) + stats.norm.ppf(0.9)) * 0.013
    assert power.detectable_difference(0.013, n_tests=6, power=0.9) == pytest.approx(expected, rel=1e-9)
    assert round(power.detectable_difference(1.0), 2) == 2.80


@pytest.mark.parametrize(("n_lost", "points"), [(0, 2.0), (1, 3.1)])
def test_150_items_test_a_margin_of_two_points_without_and_of_three_with_one_lost_item(
    n_lost: int, points: float
) -> None:
    margin = power.testable_margin(150, n_lost=n_lost)
    assert round(100 * margin, 1) == points
    assert noninferiority_p_value(0, n_lost, 150, margin=margin + 1e-9) < 0.05
    assert noninferiority_p_value(0, n_lost, 150, margin=margin - 1e-9) >= 0.05


@pytest.mark.parametrize("n_lost", [0, 1, 5])
def test_the_items_of_a_margin_are_the_fewest_that_test_it(n_lost: int) -> None:
    for margin in (0.01, 0.02, 0.3):
        n = power.items_for_margin(margin, n_lost=n_lost)
        assert power.testable_margin(n, n_lost=n_lost) < margin
        assert n == max(1, n_lost) or power.testable_margin(n - 1, n_lost=n_lost) >= margin
    assert power.items_for_margin(0.01) == 299


def test_a_margin_of_an_estimate_is_supported_with_the_stated_power() -> None:
    one_sided = power.testable_margin_of_estimate(1.0)
    assert stats.norm.cdf(one_sided - stats.norm.ppf(0.95)) == pytest.approx(0.8)
    both = power.testable_margin_of_estimate(1.0, is_two_sided=True)
    assert 2 * stats.norm.cdf(both - stats.norm.ppf(0.95)) - 1 == pytest.approx(0.8)


def test_arguments_out_of_range_are_errors() -> None:
    with pytest.raises(BadInputError):
        power.smallest_significant_difference(0)
    with pytest.raises(BadInputError):
        power.smallest_significant_difference(150, n_tests=0)
    with pytest.raises(BadInputError):
        power.detectable_difference(-0.1)
    with pytest.raises(BadInputError):
        power.detectable_difference_of_items(150, 1.2)
    with pytest.raises(BadInputError):
        power.detectable_difference_of_items(150, 0.2, power=1.0)
    with pytest.raises(BadInputError):
        power.items_for_margin(0.0)
    with pytest.raises(BadInputError):
        power.items_for_margin(1e-12)
