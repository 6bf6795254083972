"""Approximate randomisation, compared with a loop over swaps."""

import math
from itertools import product

import numpy as np
import pytest

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.statistics.paired_proportions import tango_interval
from mlprune.numeric.statistics.sign_flips import (
    sign_flip_test,
    sign_flip_tests,
    sign_flips,
    swap_test,
    swapped_differences,
)
from tests.refusals import refused

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
    assert swap_test(right, wrong, accuracy, flips) == pytest.approx(1 / (1000 + 99 * 9999))
    right[:22] = wrong[:22] = 0.5
    assert swap_test(right, wrong, accuracy, flips) == pytest.approx(2**-8, rel=0.5)
    assert swap_test(right[22:], wrong[22:], accuracy, sign_flips(8)) == 1.5 / 256


def test_swaps_that_do_not_fit_or_have_no_value_are_errors() -> None:
    first, second = example(5)
    with pytest.raises(ShapeError):
        swap_test(first, second[:4], f1, sign_flips(5))
    with pytest.raises(ShapeError):
        swap_test(first, second, f1, sign_flips(4))
    with refused(PermanentError, n_wrong=64):
        swap_test(first, second, lambda sums: np.full(sums.shape[:-1], math.nan), sign_flips(5))


def sign_flips_example(n_clusters: int, seed: int, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of one to four items; the differences of credit are in [-1, 1], with thirds."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 5, n_clusters).astype(float)
    values = np.array([-1.0, -0.5, 0.0, 0.0, 1 / 3, 1.0])
    chances = np.array([1 - shift, 1, 3, 3, 1, 1 + shift]) / 10
    d = np.array([generator.choice(values, int(size), p=chances).sum() for size in sizes])
    return d, sizes


def plain_p_value(d: np.ndarray, m: np.ndarray, flips: np.ndarray, *, difference: float = 0.0) -> float:
    """The definition, sign vector by sign vector."""
    deviations = [float(a) - difference * float(b) for a, b in zip(d, m, strict=True)]
    observed = abs(math.fsum(deviations))
    count = 0.0
    for index, signs in enumerate(flips.tolist()):
        flipped = abs(math.fsum(s * e for s, e in zip(signs, deviations, strict=True)))
        if index == 0 or flipped > observed + 1e-9:
            count += 1.0
        elif abs(flipped - observed) <= 1e-9:
            count += 0.5
    return count / len(flips)


def test_few_clusters_have_all_sign_vectors_once() -> None:
    flips = sign_flips(4)
    assert flips.dtype == np.int8
    assert sorted(map(tuple, flips.tolist())) == sorted(product((-1, 1), repeat=4))
    assert flips[0].tolist() == [1, 1, 1, 1]
    assert flips[5].tolist() == [-1, 1, -1, 1]
    assert (len(sign_flips(13)), len(sign_flips(14))) == (8192, 10000)
    assert (len(sign_flips(3, n_flips=7)), len(sign_flips(3, n_flips=6))) == (8, 7)


def test_many_clusters_have_the_observed_signs_and_random_ones_of_one_call() -> None:
    flips = sign_flips(20, n_flips=99, seed=3)
    drawn = np.random.Generator(np.random.PCG64(3)).integers(0, 2, size=(99, 20), dtype=np.int8)
    assert np.array_equal(flips[1:], 1 - 2 * drawn)
    assert (flips[0] == 1).all()


def test_nothing_to_flip_is_an_error() -> None:
    for n_clusters, n_flips in [(0, 9), (3, 0)]:
        with refused(BadInputError, expected="n_clusters and n_flips >= 1"):
            sign_flips(n_clusters, n_flips=n_flips)


@pytest.mark.parametrize(("n_clusters", "seed"), [(3, 0), (7, 1), (9, 2), (20, 3), (40, 4)])
def test_the_p_value_equals_a_loop_over_sign_vectors(n_clusters: int, seed: int) -> None:
    d, m = sign_flips_example(n_clusters, seed, shift=0.5)
    flips = sign_flips(n_clusters, n_flips=600)
    assert sign_flip_test(d, m, flips).p_value == pytest.approx(plain_p_value(d, m, flips))


@pytest.mark.parametrize(("n_clusters", "seed"), [(8, 1), (12, 2), (35, 3), (60, 4)])
def test_the_interval_has_exactly_the_differences_that_the_test_accepts(n_clusters: int, seed: int) -> None:
    d, m = sign_flips_example(n_clusters, seed)
    flips = sign_flips(n_clusters, n_flips=599)
    interval = sign_flip_test(d, m, flips, bound=None).interval
    for end, outwards in [(interval.low, -1), (interval.high, 1)]:
        assert plain_p_value(d, m, flips, difference=end - outwards * 1e-6) >= 0.05
        assert plain_p_value(d, m, flips, difference=end + outwards * 1e-6) < 0.05
    for difference in np.linspace(interval.low + 1e-6, interval.high - 1e-6, 7):
        assert plain_p_value(d, m, flips, difference=difference) >= 0.05


def test_p_value_and_interval_never_contradict_each_other() -> None:
    n_significant = n_few = 0
    for n_clusters in (2, 5, 6, 9, 20, 50):
        flips = sign_flips(n_clusters, n_flips=499)
        for seed in range(6):
            d, m = sign_flips_example(n_clusters, 100 * n_clusters + seed, shift=0.9)
            d[2 * seed :] *= seed % 2
            for bound in (1.0, None):
                result = sign_flip_test(d, m, flips, bound=bound)
                low, high = result.interval.low, result.interval.high
                assert not low < 0 < high if result.p_value < 0.05 else low <= 0 <= high
                assert low <= result.difference <= high
                assert result.p_value >= 2.0**-n_clusters
                n_significant += result.p_value < 0.05
                n_few += np.count_nonzero(d) < 6
    assert n_significant > 5
    assert n_few > 10


def test_clusters_without_a_change_have_an_interval_and_p_of_one() -> None:
    flips = sign_flips(50, n_flips=199)
    result = sign_flip_test(np.zeros(50), np.full(50, 3.0), flips)
    z2 = 1.959963984540054**2
    assert (result.difference, result.p_value) == (0.0, 1.0)
    assert (-result.interval.low, result.interval.high) == pytest.approx((z2 / (50 + z2),) * 2)
    unlimited = sign_flip_test(np.zeros(50), np.full(50, 3.0), flips, bound=None).interval
    assert (unlimited.low, unlimited.high) == (0.0, 0.0)


def test_a_single_cluster_says_nothing() -> None:
    result = sign_flip_test(np.array([2.0]), np.array([2.0]), sign_flips(1))
    assert result.p_value > 0.5
    assert (result.interval.low, result.interval.high) == (-1.0, 1.0)
    assert math.isinf(sign_flip_test(np.array([2.0]), np.array([2.0]), sign_flips(1), bound=None).interval.high)


def test_one_sided_changes_of_single_items_have_the_mid_p_value_of_mcnemar() -> None:
    d = np.array([1.0] * 6 + [-1.0] * 1 + [0.0] * 5)
    expected = 2 * (sum(math.comb(7, k) for k in (0,)) + 0.5 * math.comb(7, 1)) / 2**7
    result = sign_flip_test(d, np.ones(12), sign_flips(12))
    assert result.p_value == pytest.approx(expected + 0.5 / 2**12)


def test_columns_are_tested_alone_and_clusters_without_items_do_not_count() -> None:
    first, second = sign_flips_example(30, 5), sign_flips_example(30, 6)
    second[0][20:] = second[1][20:] = 0.0
    flips = sign_flips(30, n_flips=299)
    both = sign_flip_tests(np.stack([first[0], second[0]], axis=1), np.stack([first[1], second[1]], axis=1), flips)
    assert both == (sign_flip_test(*first, flips), sign_flip_test(*second, flips))
    alone = sign_flip_test(second[0][:20], second[1][:20], flips[:, :20])
    assert both[1] == alone


def test_the_order_of_clusters_does_not_change_a_bit() -> None:
    d, m = sign_flips_example(200, 8)
    flips, order = sign_flips(200, n_flips=299), np.random.default_rng(0).permutation(200)
    assert sign_flip_test(d, m, flips).interval == sign_flip_test(d[order], m[order], flips[:, order]).interval


def test_arguments_that_do_not_fit_are_errors() -> None:
    flips = sign_flips(3)
    with refused(ShapeError, expected="[K, n_clusters], the first all 1", got=(8, 3)):
        sign_flip_test(np.zeros(4), np.ones(4), flips)
    with refused(ShapeError, expected="[K, n_clusters], the first all 1", got=(7, 3)):
        sign_flip_test(np.zeros(3), np.ones(3), flips[1:])
    with refused(ShapeError, expected=(2, 1), got=(3, 1)):
        sign_flip_test(np.zeros(3), np.ones(2), flips)
    with refused(PermanentError, expected="<= 1.0", got=2.0):
        sign_flip_test(np.array([2.0, 0.0, 0.0]), np.ones(3), flips)
    with refused(PermanentError, n_wrong=1):
        sign_flip_test(np.array([math.nan, 0.0, 0.0]), np.ones(3), flips)
    with refused(BadInputError, expected="0 < level < 1", got=95):
        sign_flip_test(np.zeros(3), np.ones(3), flips, level=95)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_clusters_that_all_change_have_tangos_interval_and_not_one_of_zero_width(sign: float) -> None:
    sizes = np.full(40, 0.025)
    interval = sign_flip_test(sign * sizes, sizes, sign_flips(40)).interval
    expected = tango_interval(40, 0, 40)
    low, high = sorted((sign * interval.low, sign * interval.high))
    assert (low, high) == (pytest.approx(expected.low, abs=1e-6), 1.0)
    assert low < 0.95
