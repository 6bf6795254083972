"""Rank correlation against scipy, and its interval against true values that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlprune.capabilities.sensitivity.rank_intervals import _drawn_roots, rank_agreement, spearman
from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.bootstrap import cluster_resamples
from mlprune.numeric.statistics.multiplicity import ranks_with_ties

FEW = st.lists(st.integers(0, 4), min_size=3, max_size=8)


def plain_ranks(values: list[int]) -> list[float]:
    """Number of smaller values, and half of the other equal ones."""
    return [sum(other < one for other in values) + (values.count(one) - 1) / 2 for one in values]


@settings(deadline=None, max_examples=25)
@given(values=FEW)
def test_equal_values_have_the_mean_of_their_ranks(values: list[int]) -> None:
    assert ranks_with_ties(np.array(values, dtype=float)).tolist() == plain_ranks(values)


@settings(deadline=None, max_examples=25)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=8))
def test_the_correlation_is_that_of_scipy_for_every_row(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    both = spearman(np.stack([first, first]), np.stack([second, -second]))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert np.isnan(both).all()
    else:
        expected = stats.spearmanr(first, second).statistic
        assert both.tolist() == pytest.approx([expected, -expected], abs=1e-12)


def sampled(true: np.ndarray, *, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Measured values of units, and those of resamples of 100 clusters that all units share."""
    generator = np.random.default_rng(seed)
    clusters = true + 10 * noise * generator.standard_normal((100, *true.shape))
    counts = cluster_resamples(100, n_resamples=199) / 100
    return clusters.mean(axis=0), np.tensordot(counts, clusters, axes=1)


def test_the_interval_covers_the_correlation_of_the_true_values_although_noise_hides_it() -> None:
    """The true correlation is 1; the measured one is far too low."""
    shared = np.linspace(-1.5, 1.5, 20)
    n_covered, measured, corrected = 0, [], []
    for seed in range(20):
        true = np.stack([shared, shared], axis=1)
        agreement = rank_agreement(*sampled(true, noise=0.7, seed=seed))
        assert agreement is not None
        n_covered += agreement.interval.high > 0.97
        measured.append(agreement.value)
        corrected.append(agreement.corrected)
    assert n_covered >= 17
    assert np.median(measured) < 0.75 < 0.85 < np.median(corrected)


def test_without_noise_the_interval_is_the_correlation() -> None:
    true = np.array([[1.0, 2.0], [3.0, 2.5], [2.0, 4.0], [0.5, 1.0]])
    agreement = rank_agreement(true, np.repeat(true[None], 50, axis=0))
    assert agreement is not None
    assert agreement.value == pytest.approx(stats.spearmanr(*true.T).statistic)
    assert agreement.corrected == agreement.interval.low == agreement.interval.high == pytest.approx(agreement.value)


def test_noise_without_a_signal_rarely_gives_an_interval_that_says_something() -> None:
    agreements = [rank_agreement(*sampled(np.zeros((6, 2)), noise=1.0, seed=seed)) for seed in range(20)]
    assert sum(one is not None and one.interval.low < -0.4 and one.interval.high > 0.4 for one in agreements) >= 17


def test_a_shift_of_all_units_in_a_resample_changes_nothing() -> None:
    measured, resampled = sampled(np.random.default_rng(2).standard_normal((8, 2)), noise=0.3, seed=3)
    shifted = resampled + np.random.default_rng(4).standard_normal((len(resampled), 1, 2))
    one, other = rank_agreement(measured, resampled), rank_agreement(measured, shifted)
    assert one is not None
    assert other is not None
    assert (one.interval.low, one.interval.high) == pytest.approx((other.interval.low, other.interval.high), abs=1e-9)


def test_drawn_covariances_of_many_units_without_errors_are_the_measured_one() -> None:
    measured = np.array([[1.0, 0.6], [0.6, 1.0]])
    roots = _drawn_roots(measured, np.zeros((2, 2)), degrees=2000, draws=np.linspace(0.001, 0.999, 500))
    drawn = roots @ roots.transpose(0, 2, 1)
    assert np.abs(drawn.mean(axis=0) - measured).max() < 0.05
    assert (roots[:, 0, 1] == 0).all()


def test_units_with_equal_values_in_a_language_have_no_correlation_and_wrong_arguments_are_refused() -> None:
    measured = np.array([[1.0, 2.0], [1.0, 3.0], [1.0 + 1e-12, 1.0]])
    assert rank_agreement(measured, measured[None]) is None
    with pytest.raises(BadInputError):
        rank_agreement(measured[:2], measured[None, :2])
    with pytest.raises(ShapeError):
        rank_agreement(measured, measured[None, :2])
    with pytest.raises(PermanentError):
        rank_agreement(measured, np.full((4, 3, 2), np.nan))
