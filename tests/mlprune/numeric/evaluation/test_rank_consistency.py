"""Ranks, Friedman and Nemenyi tests, compared with plain loops, scipy and the published table of q."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.evaluation.rank_consistency import average_ranks, friedman, nemenyi_difference

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)
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
    assert result.p_value == pytest.approx(stats.chi2.sf(expected, k - 1), abs=1e-9)
    assert result.average_ranks.tolist() == pytest.approx([sum(row[j] for row in ranks) / n for j in range(k)])


def test_it_equals_scipys_test() -> None:
    values = np.random.default_rng(0).integers(0, 6, (9, 4))
    expected = stats.friedmanchisquare(*values.T)
    result = friedman(values)
    assert (result.statistic, result.p_value) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_follow_the_published_table(k: int, q: float) -> None:
    assert nemenyi_difference(k, 14) == pytest.approx(q * math.sqrt(k * (k + 1) / (6 * 14)), rel=5e-4)
    assert nemenyi_difference(k, 14, alpha=0.1) < nemenyi_difference(k, 14)


def test_one_method_or_one_data_set_cannot_be_ranked() -> None:
    for shape in ((1, 3), (3, 1)):
        with pytest.raises(ShapeError, match="too few methods or data sets"):
            friedman(np.zeros(shape))
    with pytest.raises(ShapeError, match="not a matrix"):
        average_ranks(np.zeros(3))
    with pytest.raises(PermanentError, match="not a number"):
        friedman(np.array([[1.0, np.nan], [1.0, 2.0]]))


@pytest.mark.parametrize(("k", "n", "alpha"), [(1, 3, 0.05), (3, 0, 0.05), (3, 3, 0.0), (3, 3, 1.0)])
def test_no_critical_difference_exists_without_methods_data_sets_or_a_level(k: int, n: int, alpha: float) -> None:
    with pytest.raises(BadInputError, match="critical difference is undefined"):
        nemenyi_difference(k, n, alpha=alpha)
