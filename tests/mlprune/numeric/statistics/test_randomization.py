"""Approximate randomisation, compared with a loop over swaps."""

import math

import numpy as np
import pytest

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.statistics.randomization import swap_test, swapped_differences
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flips

GENERATOR = np.random.default_rng(4)


def f1(sums: np.ndarray) -> np.ndarray:
    return 2 * sums[..., 0] / (sums[..., 1] + sums[..., 2])


def accuracy(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def example(n_clusters: int) -> tuple[np.ndarray, np.ndarray]:
    systems = GENERATOR.integers(1, 9, size=(2, n_clusters, 3)).astype(float)
    systems[..., 0] = np.minimum(systems[..., 0], systems[..., 1:].min(axis=-1))
    return systems[0], systems[1]


@pytest.mark.parametrize("n_clusters", [5, 30])
def test_the_p_value_equals_a_loop_over_swaps(n_clusters: int) -> None:
    first, second = example(n_clusters)
    flips = sign_flips(n_clusters, n_flips=300)
    observed = abs(f1(first.sum(axis=0)) - f1(second.sum(axis=0)))
    count = 0.5
    for signs in flips:
        swapped = (signs == -1)[:, None]
        a, b = np.where(swapped, second, first), np.where(swapped, first, second)
        distance = abs(f1(a.sum(axis=0)) - f1(b.sum(axis=0)))
        count += 1.0 if distance > observed + 1e-12 else 0.5 if distance > observed - 1e-12 else 0.0
    assert swap_test(first, second, f1, flips) == pytest.approx(count / len(flips))


def test_the_first_difference_is_the_observed_one_and_swapping_all_is_its_negative() -> None:
    first, second = example(4)
    differences = swapped_differences(first, second, f1, flips=sign_flips(4))
    assert differences[0] == pytest.approx(float(f1(first.sum(axis=0)) - f1(second.sum(axis=0))))
    assert differences[-1] == -differences[0]


def test_for_a_mean_of_credit_it_is_the_sign_flip_test() -> None:
    sizes = GENERATOR.integers(1, 4, 40).astype(float)
    credit = [np.array([GENERATOR.choice([0, 1 / 3, 1], int(m)).sum() for m in sizes]) for _ in range(2)]
    first, second = (np.stack([values, sizes], axis=1) for values in credit)
    flips = sign_flips(40)
    expected = sign_flip_test(credit[0] - credit[1], sizes, flips).p_value
    assert swap_test(first, second, accuracy, flips) == pytest.approx(expected, abs=1e-12)


def test_equal_systems_have_p_of_one_and_opposite_ones_the_smallest() -> None:
    first, _ = example(30)
    flips = sign_flips(30, n_flips=999)
    assert swap_test(first, first, f1, flips) == 1.0
    right, wrong = np.array([[1.0, 1.0]] * 30), np.array([[0.0, 1.0]] * 30)
    assert swap_test(right, wrong, accuracy, flips) == 1 / 1000


def test_swaps_that_do_not_fit_or_have_no_value_are_errors() -> None:
    first, second = example(5)
    with pytest.raises(ShapeError):
        swap_test(first, second[:4], f1, sign_flips(5))
    with pytest.raises(ShapeError):
        swap_test(first, second, f1, sign_flips(4))
    with pytest.raises(PermanentError, match="not finite"):
        swap_test(first, second, lambda sums: np.full(sums.shape[:-1], math.nan), sign_flips(5))
