"""Intervals and p-values, compared with loops, scipy and examples by hand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.evaluation.significance import (
    holm,
    mcnemar_exact,
    normal_p_value,
    percentile_interval,
    resampled_indices,
)

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def test_resamples_repeat_with_their_seed_and_stay_within_the_items() -> None:
    indices = resampled_indices(7, n_resamples=50)
    assert indices.shape == (50, 7)
    assert indices.dtype == np.int32
    assert (indices.min(), indices.max()) == (0, 6)
    assert np.array_equal(indices, resampled_indices(7, n_resamples=50, seed=0))
    assert not np.array_equal(indices, resampled_indices(7, n_resamples=50, seed=1))


def test_there_are_a_thousand_resamples_unless_asked_otherwise() -> None:
    assert resampled_indices(3).shape == (1000, 3)


@pytest.mark.parametrize(("n", "n_resamples"), [(0, 10), (5, 0)])
def test_resampling_nothing_is_an_error(n: int, n_resamples: int) -> None:
    with pytest.raises(BadInputError, match="nothing to resample"):
        resampled_indices(n, n_resamples=n_resamples)


def test_the_interval_holds_the_asked_share_of_the_samples() -> None:
    samples = np.arange(101.0)[::-1]
    assert percentile_interval(samples) == pytest.approx((2.5, 97.5))
    assert percentile_interval(samples, level=0.5) == pytest.approx((25.0, 75.0))


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_out_of_range_is_an_error(level: float) -> None:
    with pytest.raises(BadInputError, match="level"):
        percentile_interval(np.arange(3.0), level)


def test_an_interval_of_nothing_or_of_no_numbers_is_an_error() -> None:
    for samples in (np.array([]), np.ones((2, 2))):
        with pytest.raises(ShapeError, match="vector of samples"):
            percentile_interval(samples)
    for value in (math.nan, math.inf):
        with pytest.raises(PermanentError, match="not finite"):
            percentile_interval(np.array([1.0, value]))


@PROPERTY
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 20))
def test_mcnemar_equals_the_two_sided_binomial_test(only_a: int, only_b: int, both: int) -> None:
    correct_a = np.array([True] * only_a + [False] * only_b + [True] * both, dtype=np.bool_)
    correct_b = np.array([False] * only_a + [True] * only_b + [True] * both, dtype=np.bool_)
    n = only_a + only_b
    expected = stats.binomtest(only_a, n, 0.5).pvalue if n else 1.0
    assert mcnemar_exact(correct_a, correct_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(correct_b, correct_a) == mcnemar_exact(correct_a, correct_b)


def test_mcnemar_of_a_small_table_equals_the_sum_by_hand() -> None:
    correct_a, correct_b = np.array([True] * 5 + [False]), np.array([False] * 5 + [True])
    assert mcnemar_exact(correct_a, correct_b) == pytest.approx(2 * (1 + 6) / 2**6)


def test_mcnemar_without_discordant_pairs_is_one() -> None:
    assert mcnemar_exact(np.array([True, False]), np.array([True, False])) == 1.0
    assert mcnemar_exact(np.array([], dtype=np.bool_), np.array([], dtype=np.bool_)) == 1.0


def test_outcomes_that_are_unpaired_or_not_boolean_are_an_error() -> None:
    for other in (np.array([True]), np.array([1, 0])):
        with pytest.raises(ShapeError, match="paired outcomes"):
            mcnemar_exact(np.array([True, False]), other)


@pytest.mark.parametrize(("z", "p"), [(0.0, 1.0), (1.959963984540054, 0.05), (-2.5758293035489004, 0.01)])
def test_the_normal_p_value_is_two_sided(z: float, p: float) -> None:
    assert normal_p_value(z * 0.3, 0.3) == pytest.approx(p, rel=1e-12)


def test_a_very_small_p_value_keeps_its_digits() -> None:
    assert normal_p_value(20.0, 1.0) == pytest.approx(math.erfc(20 / math.sqrt(2)), rel=1e-9)


def test_without_a_standard_error_only_no_difference_has_p_value_one() -> None:
    assert normal_p_value(0.0, 0.0) == 1.0
    assert normal_p_value(-0.1, 0.0) == 0.0
    assert normal_p_value(1.0, 1e-320) == 0.0


@pytest.mark.parametrize(("difference", "error"), [(math.nan, 1.0), (0.0, math.nan), (1.0, -1.0), (math.inf, 1.0)])
def test_a_p_value_of_impossible_numbers_is_an_error(difference: float, error: float) -> None:
    with pytest.raises(PermanentError, match="p-value is undefined"):
        normal_p_value(difference, error)


def test_holm_equals_an_example_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def rejected_by_steps(p_values: list[float], alpha: float) -> set[int]:
    """Holm as a procedure: ascend from the smallest p-value, stop at the first above alpha / (remaining tests)."""
    rejected: set[int] = set()
    for index in sorted(range(len(p_values)), key=lambda i: p_values[i]):
        if p_values[index] * (len(p_values) - len(rejected)) > alpha:
            break
        rejected.add(index)
    return rejected


@PROPERTY
@given(st.lists(st.integers(0, 64).map(lambda n: n / 64), max_size=7), st.integers(1, 63).map(lambda n: n / 64))
def test_holm_rejects_the_same_hypotheses_as_the_step_down_procedure(p_values: list[float], alpha: float) -> None:
    adjusted = holm(p_values)
    assert {i for i, value in enumerate(adjusted) if value <= alpha} == rejected_by_steps(p_values, alpha)


@PROPERTY
@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_adjusted_values_keep_the_order_and_are_never_smaller_nor_above_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= value <= 1 for p, value in zip(p_values, adjusted, strict=True))
    by_p = [value for _, value in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


def test_holm_does_not_depend_on_the_order_of_the_family() -> None:
    family = [0.01, 0.2, 0.2, 0.03]
    expected = dict(zip(family, holm(family), strict=True))
    for order in permutations(family):
        assert holm(order) == [expected[p] for p in order]


def test_holm_of_an_empty_family_is_empty() -> None:
    assert holm([]) == []


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_holm_of_a_value_that_is_not_a_probability_is_an_error(value: float) -> None:
    with pytest.raises(PermanentError, match="index=1"):
        holm([0.5, value])
