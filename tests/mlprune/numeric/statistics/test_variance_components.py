"""Variance components of seeds and items, compared with plain loops, scipy and simulated tables."""

import math

import numpy as np
import pytest
from scipy import stats

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.variance_components import (
    CrossedEstimate,
    crossed_estimate,
    deviation_interval,
    language_component,
    parts_of_interval,
    pseudo_values,
    two_way_resamples,
    unpaired_estimate,
    variance_components,
)
from tests import defined_statistics as defined
from tests.refusals import refused


def table(seed: int, shape: tuple[int, int], *, of_seeds: float, of_items: float, noise: float = 1.0) -> Array:
    """A table of seeds and clusters with known standard deviations."""
    generator = np.random.default_rng(seed)
    n_seeds, n_clusters = shape
    rows, columns = generator.normal(size=(n_seeds, 1)), generator.normal(size=(1, n_clusters))
    return np.asarray(of_seeds * rows + of_items * columns + noise * generator.normal(size=shape))


def test_components_are_those_of_plain_analysis_of_variance() -> None:
    values = table(0, (4, 7), of_seeds=2.0, of_items=1.0)
    rows, columns = [[float(x) for x in row] for row in values], range(7)
    mean = sum(map(sum, rows)) / 28
    seeds = [sum(row) / 7 for row in rows]
    items = [sum(row[c] for row in rows) / 4 for c in columns]
    of_seeds = 7 * sum((x - mean) ** 2 for x in seeds) / 3
    of_items = 4 * sum((x - mean) ** 2 for x in items) / 6
    within = sum((rows[s][c] - seeds[s] - items[c] + mean) ** 2 for s in range(4) for c in columns) / 18
    found = variance_components(values)
    assert found.seed == pytest.approx((of_seeds - within) / 7)
    assert found.item == pytest.approx((of_items - within) / 4)
    assert found.residual == pytest.approx(within)


def test_components_of_large_tables_are_the_true_ones_and_never_negative() -> None:
    found = variance_components(table(1, (300, 300), of_seeds=0.5, of_items=2.0))
    assert (found.seed, found.item, found.residual) == pytest.approx((0.25, 4.0, 1.0), rel=0.2)
    nothing = [variance_components(table(seed, (3, 5), of_seeds=0, of_items=0)) for seed in range(20)]
    assert min(min(one.seed, one.item) for one in nothing) == 0.0


def test_the_component_of_languages_is_the_variance_of_their_true_differences() -> None:
    generator = np.random.default_rng(2)
    truth = np.array([0.0, 3.0, -1.0, 4.0, 2.0])
    parts = [generator.normal(size=shape) for shape in ((4, 1, 1), (1, 1, 80), (4, 5, 1), (1, 5, 80), (4, 5, 80))]
    values = truth[:, None] + parts[0] + parts[1] + 0.1 * parts[2] + parts[3] + parts[4]
    assert language_component(values) == pytest.approx(truth.var(ddof=1), rel=0.15)
    assert language_component(values - values.mean(axis=(0, 2), keepdims=True)) == 0.0


def test_the_component_of_languages_removes_what_seeds_and_items_explain() -> None:
    """Over many tables without any difference between languages, the estimate before truncation averages 0."""
    values = [language_component(np.random.default_rng(seed).normal(size=(3, 4, 6))) for seed in range(200)]
    assert np.mean(values) < 0.02
    assert 0.3 < np.mean(np.array(values) == 0) < 0.7


def test_without_shared_items_the_interval_is_the_t_interval_over_seeds() -> None:
    values = table(3, (5, 40), of_seeds=1.0, of_items=0.0)
    values -= values.mean(axis=0) - values.mean()
    seeds = values.mean(axis=1)
    expected = stats.t.interval(0.95, 4, loc=seeds.mean(), scale=stats.sem(seeds))
    estimate = crossed_estimate(values)
    assert estimate.of_items == 0.0
    assert (estimate.interval().low, estimate.interval().high) == pytest.approx(expected)
    assert estimate.p_value == pytest.approx(stats.ttest_1samp(seeds, 0.0).pvalue)


def test_without_variation_over_seeds_the_interval_is_that_over_items() -> None:
    items = np.random.default_rng(4).normal(size=30)
    estimate = crossed_estimate(np.stack([items] * 3))
    expected = stats.t.interval(0.95, 29, loc=items.mean(), scale=stats.sem(items))
    assert (estimate.interval().low, estimate.interval().high) == pytest.approx(expected)
    assert estimate.p_above(-0.1) == pytest.approx(stats.ttest_1samp(items, -0.1, alternative="greater").pvalue)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_p_is_below_the_level_exactly_where_the_interval_excludes_the_value(level: float) -> None:
    estimate = crossed_estimate(0.3 + table(5, (4, 25), of_seeds=0.3, of_items=0.6))
    interval = estimate.interval(level)
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        own = estimate if sign == 1 else estimate.mirrored
        assert own.p_above(sign * end) == pytest.approx((1 - level) / 2, rel=1e-6)
    assert (estimate.p_value < 1 - level) == (not interval.contains(0.0))
    assert estimate.p_worse(0.2) == estimate.p_above(-0.2)
    assert estimate.p_above(estimate.value) == 0.5


def test_p_values_without_any_error_or_far_away_are_small_and_not_0() -> None:
    certain = CrossedEstimate(0.5, 0.0, 0.0, 3, 10)
    assert (certain.p_above(0.5), certain.p_above(0.6)) == (1.0, 1.0)
    assert 0 < certain.p_above(0.4) < 1e-50
    far = CrossedEstimate(1.0, 1e-12, 1e-12, 30, 5000)
    assert 0 < far.p_value < 1e-50
    assert certain.interval() == Interval(0.5, 0.5)


@pytest.mark.parametrize(("n_seeds", "of_seeds"), [(2, 0.0), (2, 1.0), (3, 0.3), (5, 0.1), (5, 1.0)])
def test_intervals_cover_the_truth(n_seeds: int, of_seeds: float) -> None:
    """400 tables of 50 clusters each; the error of a share of 95 % is 1.1 points."""
    tables = (table(seed, (n_seeds, 50), of_seeds=of_seeds, of_items=1.0, noise=1.5) for seed in range(400))
    covered = np.mean([crossed_estimate(values).interval().contains(0.0) for values in tables])
    assert 0.925 <= covered <= 0.998


@pytest.mark.parametrize("of_seeds", [0.0, 0.5, 2.0])
def test_seeds_of_both_sides_have_the_defined_interval(of_seeds: float) -> None:
    variant, baseline = (table(seed, (3 + seed, 20), of_seeds=of_seeds, of_items=1.0) for seed in (0, 1))
    pairs = [[(own - other).tolist() for other in baseline] for own in variant]
    estimate = unpaired_estimate(variant - baseline.mean(axis=0), variant.mean(axis=0) - baseline)
    for level in (0.9, 0.95, 0.99):
        mean, half = defined.unpaired_interval(pairs, (1 - level) / 2)
        interval = estimate.interval(level)
        assert (estimate.value, interval.low, interval.high) == pytest.approx((mean, mean - half, mean + half))
    assert estimate.p_above(mean - half) == pytest.approx(0.005, rel=1e-6)


@pytest.mark.parametrize("of_seeds", [0.0, 1.0])
def test_unpaired_seeds_keep_the_level(of_seeds: float) -> None:
    """400 pairs of tables; without the baseline's seeds, 12 % would be rejected where all error is of seeds."""
    generator, rejected, of_one_side = np.random.default_rng(3), 0, 0
    for _ in range(400):
        variant, baseline = of_seeds * generator.normal(size=(2, 5, 1)) + 0.5 * generator.normal(size=(2, 5, 40))
        items = generator.normal(size=40) / 4
        by_seed, by_baseline_seed = variant - baseline.mean(axis=0) + items, variant.mean(axis=0) - baseline + items
        rejected += not unpaired_estimate(by_seed, by_baseline_seed).interval().contains(0.0)
        of_one_side += not crossed_estimate(by_seed).interval().contains(0.0)
    assert rejected / 400 <= 0.055
    assert (of_one_side / 400 > 0.08) == (of_seeds > 0)


def test_the_parts_of_an_error_add_up_to_it() -> None:
    estimates = [crossed_estimate(table(seed, (3, 25), of_seeds=0.1, of_items=0.5)) for seed in range(20)]
    expected = [max(one.of_seeds + one.of_items, one.of_mean) for one in estimates]
    assert [sum(one.parts) for one in estimates] == pytest.approx(expected)
    assert [one.standard_error**2 for one in estimates] == pytest.approx(expected)
    assert {one.parts.baseline_seeds for one in estimates} == {0.0}
    few = [one for one in estimates if one.of_seeds + one.of_items < one.of_mean]
    assert few
    assert [one.parts.seeds for one in few] == pytest.approx([one.of_mean - one.of_items for one in few])
    (seeds, baseline_seeds, items), moved = estimates[0].parts, estimates[0].of_the_baseline
    assert moved.parts == pytest.approx((baseline_seeds, seeds, items))
    assert moved.p_value == estimates[0].p_value


def test_the_parts_of_an_error_follow_from_its_interval() -> None:
    for n_seeds in (2, 3, 5):
        one = CrossedEstimate(0.1, 0.3, 0.2, n_seeds, 30, of_mean=0.3)
        half = one.interval().high - one.value
        found = parts_of_interval(one.standard_error, half, n_seeds=n_seeds, n_clusters=30)
        assert found == pytest.approx(one.parts)
    assert parts_of_interval(0.5, 0.1, n_seeds=3, n_clusters=30) == (0.0, 0.0, 0.25)
    assert parts_of_interval(0.5, 9.0, n_seeds=3, n_clusters=30) == (0.25, 0.0, 0.0)
    assert parts_of_interval(0.5, 1.0, n_seeds=30, n_clusters=30) == (0.0, 0.0, 0.25)


def test_pseudo_values_of_a_mean_are_its_terms() -> None:
    values = np.array([1.0, 4.0, 7.0])
    left_out = np.array([5.5, 4.0, 2.5])
    assert pseudo_values(values.mean(), left_out) == pytest.approx(values)


def test_the_interval_of_a_deviation_is_that_of_chi_square() -> None:
    assert [round(end, 2) for end in (deviation_interval(1.0, 2).low, deviation_interval(1.0, 2).high)] == [0.45, 31.91]
    interval = deviation_interval(2.0, 5, level=0.9)
    assert interval.low == pytest.approx(2 * math.sqrt(4 / stats.chi2.ppf(0.95, 4)))
    assert interval.high == pytest.approx(2 * math.sqrt(4 / stats.chi2.ppf(0.05, 4)))
    with refused(BadInputError, expected="n >= 2", got=1):
        deviation_interval(1.0, 1)


def test_the_two_way_bootstrap_draws_seeds_and_its_variance_is_biased_by_four_fifths() -> None:
    """Without variation over items, the variance of a resampled mean of five seeds is 4/5 of that of the mean."""
    seeds = np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    resampled = two_way_resamples(np.tile(seeds, (20_000, 1)))
    assert resampled.var() == pytest.approx(4 / 5 * seeds.var(ddof=1) / 5, rel=0.03)
    drawn = np.random.Generator(np.random.PCG64(1)).integers(0, 5, size=(20_000, 5))
    assert resampled[:50].tolist() == pytest.approx([seeds[row].mean() for row in drawn[:50]])


def test_too_few_seeds_or_clusters_and_impossible_values_are_errors() -> None:
    for shape in ((1, 5), (3, 1)):
        with refused(BadInputError, expected="at least 2 of each"):
            crossed_estimate(np.zeros(shape))
    with refused(PermanentError, n_wrong=1):
        variance_components(np.array([[0.0, math.inf], [0.0, 1.0]]))
    with refused(ShapeError, expected="[resamples, seeds]", got=(3,)):
        two_way_resamples(np.zeros(3))
