"""RankC against plain loops."""

import math
import time
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation.rankings import (
    Rankings,
    chance_consistency,
    corrected_consistency,
    expected_consistency,
    item_consistency,
)
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def padded(rows: list[list[float]]) -> Array:
    """Items with different numbers of candidates, padded with NaN."""
    most = max(map(len, rows))
    return np.array([row + [math.nan] * (most - len(row)) for row in rows])


def ranked(rows: list[list[float]], places: list[list[int]] | None = None) -> Rankings:
    """Rankings of some items; equal scores are ordered from the last to the first unless there are places."""
    scores = padded(rows)
    if places is None:
        return Rankings.from_scores(scores, np.tile(-np.arange(scores.shape[1]), (len(rows), 1)))
    return Rankings.from_scores(scores, np.nan_to_num(padded([list(map(float, row)) for row in places])).astype(int))


def plain_weights(n: int) -> list[float]:
    return [math.exp(n - j) / sum(math.exp(n - k) for k in range(1, n + 1)) for j in range(1, n + 1)]


def plain_consistency(order_a: list[int], order_b: list[int]) -> float:
    weights = plain_weights(len(order_a))
    return sum(w * len(set(order_a[:j]) & set(order_b[:j])) / j for j, w in enumerate(weights, start=1))


CANDIDATES = st.integers(1, 5).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-3, 0).map(float), min_size=n, max_size=n)] * 2)
)


@PROPERTY
@given(st.lists(CANDIDATES, min_size=1, max_size=8))
def test_rank_consistency_equals_its_double_loop_with_ties_and_mixed_sizes(
    items: list[tuple[list[float], list[float]]],
) -> None:
    sides = [[item[side] for item in items] for side in (0, 1)]
    values = item_consistency(ranked(sides[0]), ranked(sides[1]))
    for value, (a, b) in zip(values, items, strict=True):
        orders = [sorted(range(len(a)), key=lambda c, s=scores: (-s[c], -c)) for scores in (a, b)]
        assert value == pytest.approx(plain_consistency(*orders), abs=1e-12)


def test_candidates_are_ranked_by_descending_score_and_equal_scores_by_place() -> None:
    rankings = ranked([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]], [[0, 1, 2], [2, 0, 1]])
    assert rankings.ranks.tolist() == [[2, 0, 1], [2, 0, 1]]
    assert rankings.first.tolist() == [1, 1]
    assert rankings.of(np.array([0, 2])).tolist() == [2, 1]


def test_candidates_that_an_item_does_not_have_are_ranked_last() -> None:
    rankings = ranked([[-math.inf, 0.0], [1.0, 2.0, 3.0]])
    assert rankings.ranks.tolist() == [[1, 0, 2], [2, 1, 0]]
    assert rankings.sizes.tolist() == [2, 3]
    taken = rankings.take(np.array([0]))
    assert item_consistency(taken, ranked([[1.0, 0.0]])) == pytest.approx([plain_consistency([1, 0], [0, 1])])


def test_the_chance_level_is_the_closed_form_and_the_mean_over_all_rankings() -> None:
    levels = chance_consistency(np.array([1, 2, 3, 5, 6]))
    assert levels.round(3).tolist() == [1.0, 0.634, 0.475, 0.31, 0.261]
    for n, level in zip((1, 2, 3, 5), levels, strict=False):
        values = [plain_consistency(list(range(n)), list(order)) for order in permutations(range(n))]
        assert level == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_the_corrected_value_is_zero_at_chance_and_one_for_equal_rankings() -> None:
    corrected = corrected_consistency(np.array([0.25, 1.0, 0.625, 1.0]), np.array([0.25, 0.25, 0.25, 1.0]))
    assert corrected[:3].tolist() == [0.0, 1.0, 0.5]
    assert math.isnan(corrected[3])


def test_the_expected_value_is_the_mean_over_all_orders_of_the_wrong_candidates() -> None:
    """Candidate 0 is right; items have 1 to 4 candidates and all pairs of ranks of the right one."""
    items = [(n, a, b) for n in (1, 2, 3, 4) for a, b in product(range(n), repeat=2)]
    means = []
    for n, a, b in items:
        wrong = list(range(1, n))
        values = [
            plain_consistency([*wrong[:a], 0, *wrong[a:]], [*order[:b], 0, *order[b:]])
            for order in map(list, permutations(wrong))
        ]
        means.append(sum(values) / len(values))
    sizes, first, second = np.array(items).T
    assert expected_consistency(first, second, sizes) == pytest.approx(means, rel=1e-12)


def test_a_thousand_candidates_do_not_overflow_the_weights() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 1000)).tolist()
    assert 0 <= float(item_consistency(ranked(scores[:1]), ranked(scores[1:]))[0]) < 1


def test_consistency_of_400_items_takes_milliseconds() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 400, 6)).tolist()
    started = time.process_time()
    item_consistency(ranked(scores[0]), ranked(scores[1]))
    assert time.process_time() - started < 0.1


def test_items_that_do_not_fit_each_other_are_an_error() -> None:
    with refused(ShapeError, expected=(1, 2), got=(1, 3)):
        Rankings.from_scores(np.zeros((1, 2)), np.zeros((1, 3), dtype=int))
    with refused(ShapeError, expected="at least 1", got=0):
        Rankings.from_scores(np.array([[math.nan]]), np.zeros((1, 1), dtype=int))
    with refused(PermanentError, n_wrong=1):
        Rankings.from_scores(np.array([[math.nan, 1.0]]), np.zeros((1, 2), dtype=int))
    with refused(ShapeError, expected=(1,), got=(1,)):
        item_consistency(ranked([[1.0, 0.0]]), ranked([[1.0]]))
