"""Bootstrap over clusters, compared with loops, scipy and examples by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.bootstrap import (
    bca_interval,
    cluster_resamples,
    is_constant,
    jackknife_contributions,
    leave_one_out_sums,
    percentile_interval,
    ratio_t_interval,
    resampled_ratios,
    resampled_sums,
    studentized_interval,
)
from mlprune.numeric.statistics.clusters import ratio_estimate
from tests.refusals import refused

GENERATOR = np.random.default_rng(2)


def test_resamples_are_those_of_one_call_of_the_generator() -> None:
    drawn = np.random.Generator(np.random.PCG64(5)).integers(0, 7, size=(600, 7))
    counts = cluster_resamples(7, n_resamples=600, seed=5)
    assert counts.dtype == np.uint16
    assert np.array_equal(counts, [[(row == cluster).sum() for cluster in range(7)] for row in drawn])
    assert not np.array_equal(counts, cluster_resamples(7, n_resamples=600, seed=6))
    assert cluster_resamples(3).shape == (1999, 3)


@pytest.mark.parametrize(("n", "n_resamples"), [(0, 10), (5, 0), (2**16, 1)])
def test_resampling_nothing_or_too_much_is_an_error(n: int, n_resamples: int) -> None:
    with refused(BadInputError, expected="1 <= n_clusters < 65,536 and n_resamples >= 1"):
        cluster_resamples(n, n_resamples=n_resamples)


def test_resampled_sums_equal_loops() -> None:
    counts, sums = cluster_resamples(6, n_resamples=300), GENERATOR.normal(size=(6, 2))
    expected = [[math.fsum(counts[r, c] * sums[c, k] for c in range(6)) for k in range(2)] for r in range(300)]
    assert resampled_sums(counts, sums) == pytest.approx(np.array(expected), abs=1e-12)
    with pytest.raises(ShapeError):
        resampled_sums(counts, sums[:5])


def test_contributions_of_the_jackknife_are_the_terms_of_a_mean_and_add_up_to_any_value() -> None:
    sample = GENERATOR.normal(size=(9, 2))
    left_out = (sample.sum(axis=0) - sample) / 8
    assert jackknife_contributions(sample.mean(axis=0), left_out) == pytest.approx(sample / 9)
    roots = jackknife_contributions(np.sqrt(np.abs(sample.mean(axis=0))), np.sqrt(np.abs(left_out)))
    assert roots.sum(axis=0) == pytest.approx(np.sqrt(np.abs(sample.mean(axis=0))))


def test_the_interval_holds_the_asked_share_of_the_samples() -> None:
    interval = percentile_interval(np.arange(101.0)[::-1])
    assert (interval.low, interval.high) == pytest.approx((2.5, 97.5))
    half = percentile_interval(np.arange(101.0), level=0.5)
    assert (half.low, half.high) == pytest.approx((25.0, 75.0))


def test_bca_equals_scipy() -> None:
    sample = GENERATOR.exponential(size=25)
    result = stats.bootstrap((sample,), np.mean, method="BCa", n_resamples=2999, rng=np.random.default_rng(0))
    jackknife = leave_one_out_sums(sample[:, None])[:, 0] / 24
    interval = bca_interval(result.bootstrap_distribution, float(sample.mean()), jackknife)
    ci = result.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((ci.low, ci.high), rel=0.003)


def test_bca_without_bias_and_skewness_is_the_percentile_interval() -> None:
    resampled = np.linspace(-1, 1, 1001)
    assert bca_interval(resampled, 0.0, np.array([-1.0, 0.0, 1.0])) == percentile_interval(resampled)
    assert bca_interval(resampled, 0.0, np.zeros(3)) == percentile_interval(resampled)


def test_bca_of_an_estimate_outside_its_resamples_covers_it() -> None:
    interval = bca_interval(np.linspace(0, 1, 99), 2.0, np.array([0.0, 1.0, 5.0]))
    assert 0 <= interval.low <= 1 < interval.high == 2
    assert bca_interval(np.ones(9), 1.0, np.ones(3)).low == 1.0


def test_rounding_errors_of_resampled_values_move_no_end() -> None:
    resampled = np.repeat(np.linspace(0.1, 0.3, 5), 400)
    noise = 1e-16 * GENERATOR.choice([-1, 0, 1], resampled.size)
    exact, noisy = (bca_interval(values, 0.2, np.array([0.1, 0.2, 0.4])) for values in (resampled, resampled + noise))
    assert (noisy.low, noisy.high) == pytest.approx((exact.low, exact.high), abs=1e-12)
    shifted = bca_interval(resampled, 0.2 + 4e-17, np.array([0.1, 0.2, 0.4]))
    assert shifted == exact
    assert is_constant(0.7 + noise)
    assert not is_constant(resampled)


def test_the_studentized_interval_equals_the_formula_and_leaves_out_resamples_without_variation() -> None:
    resampled, errors = np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([1.0, 0.5, 1.0, 2.0, 0.0])
    interval = studentized_interval(2.0, 0.3, resampled=resampled, resampled_errors=errors, level=0.5)
    statistics = [-1.0, 0.0, 1.0, 1.0]
    low, high = np.quantile(statistics, [0.25, 0.75])
    assert (interval.low, interval.high) == pytest.approx((2 - high * 0.3, 2 - low * 0.3))
    nothing = studentized_interval(2.0, 0.3, resampled=resampled, resampled_errors=np.zeros(5))
    assert (nothing.low, nothing.high) == (2.0, 2.0)


def test_resampled_ratios_and_errors_equal_those_of_drawn_clusters() -> None:
    d, m = GENERATOR.normal(size=8), GENERATOR.integers(1, 5, 8).astype(float)
    counts = cluster_resamples(8, n_resamples=20)
    ratios, errors = resampled_ratios(counts, d, sizes=m)
    for row in range(20):
        drawn = np.repeat(np.arange(8), counts[row])
        estimate = ratio_estimate(d[drawn], m[drawn])
        assert (ratios[row], errors[row]) == pytest.approx((estimate.value, estimate.standard_error))


def test_the_t_interval_of_single_items_equals_scipy() -> None:
    values = GENERATOR.normal(0.4, 1.0, size=15)
    expected = stats.ttest_1samp(values, 0.0)
    interval = ratio_t_interval(values, np.ones(15), level=0.9)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert math.isinf(ratio_t_interval(np.ones(1), np.ones(1)).high)


def test_values_that_are_no_resamples_are_errors() -> None:
    for samples in (np.array([]), np.ones((2, 2))):
        with refused(ShapeError, expected="[n_resamples]"):
            percentile_interval(samples)
    for value in (math.nan, math.inf):
        with refused(PermanentError, n_wrong=1):
            bca_interval(np.array([1.0, value]), 1.0, np.ones(3))
    with refused(BadInputError, expected="0 < level < 1", got=95):
        percentile_interval(np.arange(3.0), level=95)
    with refused(ShapeError, expected=(3,), got=(2,)):
        studentized_interval(1.0, 1.0, resampled=np.ones(3), resampled_errors=np.ones(2))
