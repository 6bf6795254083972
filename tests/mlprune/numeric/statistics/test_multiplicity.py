"""Correction for multiple tests, compared with loops and examples by hand."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.statistics.multiplicity import average_ranks, friedman, holm
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
FAMILIES = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.04, 0.3, 0.7, 1.0]), max_size=8)


def holm_by_hand(p_values: list[float]) -> list[float]:
    adjusted = []
    for p in p_values:
        smaller = [q for q in p_values if q <= p]
        candidates = []
        for q in smaller:
            n_below = sum(r < q for r in p_values)
            candidates.append((len(p_values) - n_below) * q)
        adjusted.append(min(1.0, max(candidates)))
    return adjusted


@PROPERTY
@given(FAMILIES)
def test_holm_equals_the_definition_with_ties(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(holm_by_hand(p_values))


@PROPERTY
@given(FAMILIES)
def test_a_correction_only_increases_p_values_and_keeps_ties(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= h + 1e-12 and h <= 1 for p, h in zip(p_values, adjusted, strict=True))
    assert len(set(zip(p_values, adjusted, strict=True))) == len(set(p_values))


def test_an_example_by_hand_in_any_order() -> None:
    for family in permutations([(0.01, 0.04), (0.02, 0.06), (0.03, 0.06), (0.2, 0.2)]):
        p_values = [p for p, _ in family]
        assert holm(p_values) == pytest.approx([adjusted for _, adjusted in family])


def test_a_family_with_something_else_is_an_error() -> None:
    for wrong in (math.nan, -0.1, 1.1):
        with pytest.raises(PermanentError) as caught:
            holm([0.5, wrong])
        assert caught.value.context["index"] == 1
    assert holm([]) == []
    assert np.all(np.isfinite(holm([0.0, 1.0])))


VALUES = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=2, max_size=8)
)


def plain_ranks(row: list[int]) -> list[float]:
    ordered = sorted(row, reverse=True)
    return [sum(place for place, other in enumerate(ordered, 1) if other == x) / ordered.count(x) for x in row]


@PROPERTY
@given(VALUES)
def test_ranks_are_places_from_the_highest_and_ties_share_their_mean(rows: list[list[int]]) -> None:
    assert average_ranks(np.array(rows)).tolist() == [plain_ranks(row) for row in rows]


@PROPERTY
@given(VALUES)
def test_the_statistic_equals_the_tie_corrected_one_of_a_plain_loop(rows: list[list[int]]) -> None:
    n, k = len(rows), len(rows[0])
    ranks = [plain_ranks(row) for row in rows]
    between = sum((sum(row[j] for row in ranks) - n * (k + 1) / 2) ** 2 for j in range(k))
    within = sum((rank - (k + 1) / 2) ** 2 for row in ranks for rank in row)
    expected = (k - 1) * between / within if within else 0.0
    result = friedman(np.array(rows))
    assert result.statistic == pytest.approx(expected, abs=1e-9)
    if expected < n * (k - 1) - 1e-9:
        expected_f = (n - 1) * expected / (n * (k - 1) - expected)
        assert result.p_value == pytest.approx(stats.f.sf(expected_f, k - 1, (k - 1) * (n - 1)), rel=1e-6)
    assert result.average_ranks.tolist() == pytest.approx([sum(row[j] for row in ranks) / n for j in range(k)])


def test_it_equals_scipys_test() -> None:
    values = np.random.default_rng(0).integers(0, 6, (9, 4)).astype(np.float64)
    expected = stats.friedmanchisquare(*values.T)
    result = friedman(values)
    assert result.statistic == pytest.approx(expected.statistic)


def test_the_correction_of_iman_and_davenport_is_that_of_the_published_example() -> None:
    """Demšar 2006, table 6: average ranks of four classifiers on 14 data sets; chi2 = 9.28, F = 3.69."""
    values = np.array(
        [
            [0.763, 0.768, 0.771, 0.798],
            [0.599, 0.591, 0.590, 0.569],
            [0.954, 0.971, 0.968, 0.967],
            [0.628, 0.661, 0.654, 0.657],
            [0.882, 0.888, 0.886, 0.898],
            [0.936, 0.931, 0.916, 0.931],
            [0.661, 0.668, 0.609, 0.685],
            [0.583, 0.583, 0.563, 0.625],
            [0.775, 0.838, 0.866, 0.875],
            [1.000, 1.000, 1.000, 1.000],
            [0.940, 0.962, 0.965, 0.962],
            [0.619, 0.666, 0.614, 0.669],
            [0.972, 0.981, 0.9751, 0.975],
            [0.957, 0.978, 0.946, 0.970],
        ]
    )
    result = friedman(values)
    assert result.average_ranks.round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    n, k = values.shape
    plain = 12 * n / (k * (k + 1)) * (sum(rank**2 for rank in result.average_ranks) - k * (k + 1) ** 2 / 4)
    assert plain == pytest.approx(9.28, abs=0.005)
    assert (n - 1) * plain / (n * (k - 1) - plain) == pytest.approx(3.69, abs=0.005)
    assert result.iman_davenport == pytest.approx((n - 1) * result.statistic / (n * (k - 1) - result.statistic))
    assert result.p_value == pytest.approx(stats.f.sf(result.iman_davenport, k - 1, (k - 1) * (n - 1)))


@pytest.mark.parametrize(("row", "n_orders"), [([3.0, 2.0, 1.0], 6), ([2.0, 2.0, 1.0], 3)])
def test_equal_ranks_on_all_data_sets_have_the_exact_probability(row: list[float], n_orders: int) -> None:
    result = friedman(np.array([row] * 4))
    assert math.isinf(result.iman_davenport)
    assert result.p_value == pytest.approx(n_orders**-3)


def test_methods_that_tie_everywhere_do_not_differ() -> None:
    result = friedman(np.ones((3, 4)))
    assert (result.statistic, result.iman_davenport, result.p_value) == (0.0, 0.0, 1.0)


def test_one_method_or_one_data_set_cannot_be_ranked() -> None:
    for shape in ((1, 3), (3, 1)):
        with refused(ShapeError, expected="two methods on two data sets"):
            friedman(np.zeros(shape))
    with refused(ShapeError, expected="[data sets, methods]", got=(3,)):
        average_ranks(np.zeros(3))
    with refused(PermanentError, n_wrong=1):
        friedman(np.array([[1.0, np.nan], [1.0, 2.0]]))
