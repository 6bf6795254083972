"""Choices and Pareto fronts, compared with plain loops over all candidates."""

import numpy as np
import pytest

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.evaluation import choice


def plain_front(first: list[float], second: list[float]) -> list[bool]:
    points = list(zip(first, second, strict=True))
    return [not any(a >= x and b >= y and (a > x or b > y) for a, b in points) for x, y in points]


def test_the_front_is_that_of_plain_loops_with_ties_in_one_and_in_both_values() -> None:
    generator = np.random.default_rng(3)
    for n_values, n_candidates in ((3, 7), (2, 4), (50, 20), (1, 3)):
        first, second = generator.integers(0, n_values, (2, 300, n_candidates)) / n_values
        fronts = choice.pareto_front(first, second)
        expected = [plain_front(a.tolist(), b.tolist()) for a, b in zip(first, second, strict=True)]
        assert fronts.tolist() == expected
    assert fronts.all()


def test_a_candidate_keeps_both_if_neither_value_is_below_the_reference() -> None:
    first, second = np.array([[0.5, 0.5, 0.6, 0.4]]), np.array([[0.2, 0.2, 0.1, 0.9]])
    assert choice.keeps_both(first, second, reference=0).tolist() == [[True, True, False, False]]


def test_of_equally_good_candidates_the_first_is_chosen_in_the_sample_and_in_every_resample() -> None:
    values = np.array([0.1 + 0.2, 0.3, 0.2])
    assert (choice.best_candidate(values), choice.n_tied(values)) == (0, 2)
    assert (choice.best_candidate(values[::-1]), choice.n_tied(values[:1])) == (1, 1)
    shares = choice.win_shares(np.array([[0.3, 0.1 + 0.2, 0.1], [0.1, 0.5, 0.4], [0.1, 0.5, 0.6], [0.1, 0.7, 0.1]]))
    assert shares.tolist() == [0.25, 0.5, 0.25]


def test_rounding_errors_of_dyadic_values_make_no_difference() -> None:
    value = 1 / 1024
    assert choice.n_tied(np.array([value, np.nextafter(value, 0), np.nextafter(value, 1)])) == 3


def test_impossible_values_are_refused() -> None:
    with pytest.raises(ShapeError):
        choice.best_candidate(np.zeros(0))
    with pytest.raises(ShapeError):
        choice.win_shares(np.zeros(3))
    with pytest.raises(ShapeError):
        choice.pareto_front(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(ShapeError):
        choice.keeps_both(np.zeros((1, 2)), np.zeros((1, 3)), reference=0)
    with pytest.raises(PermanentError):
        choice.n_tied(np.array([1.0, np.nan]))
