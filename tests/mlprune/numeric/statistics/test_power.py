"""Power: the published and audited numbers, sums over all outcomes, and the tests whose limits it states."""

import math

import numpy as np
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
from mlprune.numeric.statistics.variance_components import ErrorNumbers, ErrorParts, crossed_estimate, unpaired_estimate
from mlprune.vocabulary import ClaimName
from tests.refusals import refused


@pytest.mark.parametrize(("n_tests", "n_items"), [(318, 14), (6, 8), (1, 6)])
def test_of_150_items_14_must_change_in_a_family_of_318_tests_8_in_one_of_6_and_6_alone(
    n_tests: int, n_items: int
) -> None:
    assert power.fewest_changed(n_tests=n_tests) == n_items
    assert mcnemar_exact(n_items, 0) * n_tests < 0.05 <= mcnemar_exact(n_items - 1, 0) * n_tests


@pytest.mark.parametrize("n_tests", [1, 6, 318])
def test_the_fewest_changed_items_belong_to_the_test_of_the_p_values(n_tests: int) -> None:
    tango = power.fewest_changed(n_tests=n_tests, test="tango")
    middle = power.fewest_changed(n_tests=n_tests, test="mcnemar_mid_p")
    for n_items, significant in ((tango, True), (tango - 1, False)):
        assert (tango_p_value(n_items, 0, 150) * n_tests < 0.05) == significant
    for n_items, significant in ((middle, True), (middle - 1, False)):
        assert (mcnemar_mid_p(n_items, 0) * n_tests < 0.05) == significant


def test_too_few_items_cannot_be_significant() -> None:
    assert power.fewest_changed() == 6
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


def test_the_difference_of_an_estimate_follows_the_normal_distribution() -> None:
    expected = (stats.norm.isf(0.05 / 12) + stats.norm.ppf(0.9)) * 0.013
    assert power.detectable_difference(0.013, n_tests=6, power=0.9) == pytest.approx(expected, rel=1e-9)
    assert round(power.detectable_difference(1.0), 2) == 2.80


@pytest.mark.parametrize(("n_seeds", "n_tests"), [(3, 1), (3, 15), (5, 5), (40, 5)])
def test_the_power_of_a_mean_with_one_part_of_error_is_that_of_noncentral_t(n_seeds: int, n_tests: int) -> None:
    of_seeds, of_items = ErrorParts(0.04, 0.0, 0.0), ErrorParts(0.0, 0.0, 0.04)
    difference = power.detectable_difference_of_mean(of_seeds, ErrorNumbers(n_seeds, 0, 9), n_tests=n_tests)
    same = power.detectable_difference_of_mean(of_items, ErrorNumbers(1, 0, n_seeds), n_tests=n_tests)
    assert difference == same
    critical, shift = stats.t.isf(0.025 / n_tests, n_seeds - 1), difference / 0.2
    found = stats.nct.sf(critical, n_seeds - 1, shift) + stats.nct.cdf(-critical, n_seeds - 1, shift)
    assert found == pytest.approx(0.8, abs=1e-4)


def test_the_difference_of_a_mean_with_many_seeds_and_items_is_that_of_a_normal_estimate() -> None:
    numbers = ErrorNumbers(100_000, 100_000, 100_000)
    parts = ErrorParts(0.01, 0.02, 0.03)
    expected = power.detectable_difference(sum(parts) ** 0.5, n_tests=5)
    assert power.detectable_difference_of_mean(parts, numbers, n_tests=5) == pytest.approx(expected, rel=0.01)
    for claim, is_two_sided in (("noninferior", False), ("equivalent", True)):
        margin = power.testable_margin_of_estimate(sum(parts) ** 0.5, alpha=0.01, is_two_sided=is_two_sided)
        found = power.detectable_difference_of_mean(parts, numbers, n_tests=5, claim=claim)  # type: ignore[arg-type]
        assert found == pytest.approx(margin, rel=0.01)


SIMULATED = [(2, 24, 0.0, 1), (2, 40, 0.5, 15), (3, 24, 0.2, 5), (3, 100, 0.8, 15), (5, 24, 0.0, 5), (5, 40, 0.4, 1)]


@pytest.mark.parametrize(("n_seeds", "n_items", "share", "n_tests"), SIMULATED)
def test_simulated_means_find_the_stated_difference_in_80_percent(
    n_seeds: int, n_items: int, share: float, n_tests: int
) -> None:
    """2,000 tables of each setting, whose test is computed for all at once; the error of a share is 0.9 points."""
    generator = np.random.default_rng(7)
    of_items = (1 - share) / 2
    shape = (2000, n_seeds, n_items)
    tables = generator.normal(size=(2000, n_seeds, 1)) * (share * n_seeds) ** 0.5
    tables = tables + generator.normal(size=(2000, 1, n_items)) * (of_items * n_items) ** 0.5
    tables = tables + generator.normal(size=shape) * (of_items * n_seeds * n_items) ** 0.5
    parts = ErrorParts(share + of_items, 0.0, of_items)
    numbers = ErrorNumbers(n_seeds, 0, n_items)
    for claim in ("gain", "noninferior", "equivalent"):
        difference = power.detectable_difference_of_mean(parts, numbers, n_tests=n_tests, claim=claim)
        tail = 0.05 / n_tests / (2 if claim == "gain" else 1)
        means, half_widths = means_and_half_widths(tables, tail)
        found = {
            "gain": np.abs(means + difference) > half_widths,
            "noninferior": means + difference > half_widths,
            "equivalent": difference - np.abs(means) > half_widths,
        }[claim]
        assert 0.77 <= found.mean() <= 0.83
    assert crossed_estimate(tables[0]).interval(1 - 2 * tail).high == pytest.approx(means[0] + half_widths[0])


def means_and_half_widths(tables: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the half width of each table, [R, S, C], by the formula of the documentation."""
    n_seeds, n_items = tables.shape[1:]
    of_seeds, of_items, means = tables.mean(axis=2), tables.mean(axis=1), tables.mean(axis=(1, 2))
    rest = tables - of_seeds[:, :, None] - of_items[:, None] + means[:, None, None]
    ms_rest = (rest**2).sum(axis=(1, 2)) / ((n_seeds - 1) * (n_items - 1))
    t_seeds, t_items = (stats.t.isf(tail, n - 1) ** 2 for n in (n_seeds, n_items))
    ms_item = n_seeds * of_items.var(axis=1, ddof=1)
    item = np.maximum(0.0, ms_item - ms_rest) / n_seeds / n_items
    both = t_seeds * of_seeds.var(axis=1, ddof=1) / n_seeds + t_items * item
    return means, np.sqrt(np.maximum(both, t_items * ms_item / n_seeds / n_items))


@pytest.mark.parametrize("claim", ["gain", "equivalent"])
def test_seeds_of_both_sides_have_their_part_of_the_power(claim: ClaimName) -> None:
    generator, found = np.random.default_rng(8), 0
    variants = generator.normal(size=(500, 4, 1)) + generator.normal(size=(500, 4, 30))
    baselines = generator.normal(size=(500, 3, 1)) + generator.normal(size=(500, 3, 30))
    parts = ErrorParts((1 + 1 / 30) / 4, (1 + 1 / 30) / 3, 0.0)
    numbers = ErrorNumbers(4, 3, 30)
    difference = power.detectable_difference_of_mean(parts, numbers, n_tests=2, claim=claim)
    for variant, baseline in zip(variants, baselines, strict=True):
        estimate = unpaired_estimate(variant - baseline.mean(axis=0), variant.mean(axis=0) - baseline)
        interval = estimate.interval(0.975 if claim == "gain" else 0.95)
        is_within = -difference < interval.low and interval.high < difference
        found += is_within if claim == "equivalent" else not interval.contains(-difference)
    assert 0.75 <= found / 500 <= 0.85


def test_a_mean_without_an_error_finds_every_difference() -> None:
    numbers = ErrorNumbers(1, 0, 1)
    assert power.detectable_difference_of_mean(ErrorParts(0.0, 0.0, 0.0), numbers) == 0.0


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
        power.fewest_changed(n_tests=0)
    with pytest.raises(BadInputError):
        power.detectable_difference(-0.1)
    with pytest.raises(BadInputError):
        power.detectable_difference_of_items(150, 1.2)
    with pytest.raises(BadInputError):
        power.detectable_difference_of_items(150, 0.2, power=1.0)
    with pytest.raises(BadInputError):
        power.items_for_margin(0.0)
    numbers = ErrorNumbers(1, 0, 2)
    with refused(BadInputError, expected="at least 2", got=1):
        power.detectable_difference_of_mean(ErrorParts(0.1, 0.0, 0.1), numbers)
    with pytest.raises(BadInputError):
        power.detectable_difference_of_mean(ErrorParts(0.0, 0.0, -0.1), numbers)
    with pytest.raises(BadInputError):
        power.items_for_margin(1e-12)
