"""Wanda's alpha variant, compared with its definition as loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.selection.alpha import alpha_counts

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def looped_counts(scores: np.ndarray, sparsity: float, *, highest: bool = False) -> list[int]:
    """The bisection as in the definition; sums and shares in float64."""
    low, high, seen = 0.0, 1.0, []
    for _ in range(60):
        alpha = (low + high) / 2
        counts = []
        for row in scores.tolist():
            ordered = sorted(row, reverse=highest)
            total = 0.0
            for value in ordered:
                total += value
            count, running = 0, 0.0
            for value in ordered:
                running += value
                count += running <= alpha * total
            counts.append(count)
        achieved = sum(counts) / scores.size
        seen.append((abs(achieved - sparsity), len(seen), counts))
        if abs(achieved - sparsity) <= 0.001:
            break
        low, high = (alpha, high) if achieved < sparsity else (low, alpha)
    return min(seen)[2]


@PROPERTY
@given(st.integers(1, 5), st.integers(1, 12), st.floats(0.01, 0.99), st.booleans(), st.data())
def test_counts_equal_the_definition_written_as_loops(n_rows, width, sparsity, highest, data) -> None:
    size = n_rows * width
    values = data.draw(st.lists(st.floats(0, 100, width=32), min_size=size, max_size=size))
    scores = np.array(values, np.float32).reshape(n_rows, width)
    counts = alpha_counts(scores, [sparsity], highest=highest)
    assert counts[:, 0].tolist() == looped_counts(scores, sparsity, highest=highest)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
def test_a_matrix_comes_within_a_thousandth_of_the_sparsity_but_its_rows_differ(sparsity: float) -> None:
    random = np.random.default_rng(0)
    scores = (random.random((60, 200)) ** random.uniform(0.5, 4, (60, 1))).astype(np.float32)
    counts = alpha_counts(scores, [sparsity])[:, 0]
    assert abs(counts.sum() / scores.size - sparsity) <= 0.001
    assert len(set(counts.tolist())) > 5


def test_the_nearest_alpha_is_used_if_none_is_within_the_tolerance() -> None:
    scores = np.array([[1, 1, 1, 1]], np.float32)
    assert alpha_counts(scores, [0.4])[:, 0].tolist() == [2]
    assert alpha_counts(scores, [0.3])[:, 0].tolist() == [1]


def test_scores_of_zero_are_removed_at_any_alpha() -> None:
    scores = np.array([[0, 0, 0, 5], [1, 2, 3, 4]], np.float32)
    assert alpha_counts(scores, [0.1]).tolist() == [[3], [0]]


def test_sparsity_0_removes_nothing_and_counts_ascend() -> None:
    scores = np.random.default_rng(0).random((5, 40)).astype(np.float32)
    counts = alpha_counts(scores, [0.0, 0.3, 0.3004, 0.3008, 0.9])
    assert counts[:, 0].tolist() == [0] * 5
    assert (np.diff(counts, axis=1) >= 0).all()


def test_a_negative_score_is_an_error() -> None:
    with pytest.raises(StatisticsError, match=r"negative.*got=-2\.0"):
        alpha_counts(np.array([[1, -2]], np.float32), [0.5])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(StatisticsError, match="not finite"):
        alpha_counts(np.array([[1, value], [1, 2]], np.float32), [0.5])


def test_scores_that_are_not_a_float32_matrix_are_an_error() -> None:
    with pytest.raises(ShapeError, match="float32"):
        alpha_counts(np.ones((2, 2)), [0.5])


def test_an_empty_matrix_has_counts_of_no_row() -> None:
    assert alpha_counts(np.empty((0, 3), np.float32), [0.5]).shape == (0, 1)
