"""Differences between two minima over languages."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from mlprune.evaluation.inference.minima import LanguageShares, minima_test
from mlprune.numeric.statistics.sign_flips import SignFlipResult, sign_flip_test, sign_flips

Array = NDArray[np.float64]
N_CLUSTERS = 60
FLIPS = sign_flips(N_CLUSTERS, n_flips=499)


def right_answers(generator: np.random.Generator, chances: Sequence[float]) -> Array:
    return (generator.random((N_CLUSTERS, len(chances))) < chances).astype(np.float64)


def shares(right: Array) -> LanguageShares:
    return LanguageShares(right / len(right), np.full(right.shape, 1 / len(right)))


def minima_of(first: Array, second: Array, *, shift: float = 0.0) -> SignFlipResult:
    ours = shares(first)
    return minima_test(LanguageShares(ours.contributions - shift * ours.sizes, ours.sizes), shares(second), FLIPS)


def above_minimum(language: Array, others: Array) -> float:
    """Loops over sign vectors: the p-value of one language against all others, none of them left out."""
    residuals = [language - language.mean() - other + other.mean() for other in others.T]
    scales = [np.sqrt((residual**2).sum()) for residual in residuals]
    distances = [(language - other).sum() for other in others.T]
    observed = max([d / np.sqrt(scale**2 + d**2 / len(language)) for d, scale in zip(distances, scales, strict=True)])
    count = 1.0
    for signs in FLIPS[1:]:
        flipped = max([signs @ residual / scale for residual, scale in zip(residuals, scales, strict=True)])
        count += 0.5 if abs(flipped - observed) < 1e-9 else float(flipped > observed)
    return count / len(FLIPS)


def test_the_p_value_is_the_largest_one_of_the_variants_languages() -> None:
    generator = np.random.default_rng(0)
    first, second = right_answers(generator, (0.6, 0.7)), right_answers(generator, (0.5, 0.45))
    gain = max(above_minimum(language, second) for language in first.T)
    loss = max(above_minimum(language, first) for language in second.T)
    assert minima_of(first, second).p_value == pytest.approx(min(1.0, 2 * min(gain, loss) / 0.9))
    assert 2 * gain < 1 < 2 * loss


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_has_the_differences_that_the_test_accepts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = right_answers(generator, (0.7, 0.8, 0.95)), right_answers(generator, (0.5, 0.55, 0.9))
    result = minima_of(first, second)
    assert (result.p_value < 0.05) == (not result.interval.contains(0.0))
    for end, inwards in ((result.interval.low, 1), (result.interval.high, -1)):
        assert minima_of(first, second, shift=end + inwards * 1e-6).p_value >= 0.05
        assert minima_of(first, second, shift=end - inwards * 1e-6).p_value < 0.05


@pytest.mark.parametrize("is_variant", [True, False])
def test_one_lowest_language_and_five_tied_ones_have_equal_minima(is_variant: bool) -> None:
    generator, n_rejected = np.random.default_rng(1), 0
    for _ in range(40):
        sides = [right_answers(generator, (0.4,) * 5), right_answers(generator, (0.9, 0.4, 0.9, 0.9, 0.9))]
        n_rejected += minima_of(*(sides if is_variant else reversed(sides))).p_value < 0.05
    assert n_rejected <= 4


def test_a_language_that_cannot_be_the_lowest_costs_no_power() -> None:
    generator = np.random.default_rng(2)
    low = right_answers(generator, (0.65,)), right_answers(generator, (0.4,))
    high = right_answers(generator, (0.98,) * 6)
    alone, together = minima_of(*low), minima_of(*(np.hstack([side, high]) for side in low))
    assert together.difference == pytest.approx(alone.difference)
    assert together.p_value == pytest.approx(alone.p_value)
    assert together.p_value < 0.05


def test_one_language_has_nearly_the_sign_flip_test() -> None:
    generator = np.random.default_rng(3)
    first, second = right_answers(generator, (0.65,)), right_answers(generator, (0.5,))
    single = sign_flip_test((first - second)[:, 0], np.ones(N_CLUSTERS), FLIPS)
    result = minima_test(shares(first), shares(second), FLIPS, bound=1.0)
    assert 0.9 * result.p_value == pytest.approx(single.p_value, abs=0.03)
    assert result.interval.low == pytest.approx(single.interval.low, abs=0.02)


def test_equal_answers_have_p_1_and_an_interval_of_what_was_not_seen() -> None:
    right = right_answers(np.random.default_rng(4), (0.3, 0.9))
    result = minima_test(shares(right), shares(right), FLIPS, bound=1.0)
    assert (result.difference, result.p_value) == (0.0, 1.0)
    assert -0.1 < result.interval.low < 0 < result.interval.high < 0.1


def test_a_p_value_of_exactly_the_level_is_no_rejection() -> None:
    generator, n_exact = np.random.default_rng(7), 0
    flips = sign_flips(N_CLUSTERS, n_flips=399)  # 0.9 * 0.025 * 400 is a whole number of sign vectors
    for _ in range(120):
        first, second = generator.normal(0.3, 1.0, (2, N_CLUSTERS, 1))
        result = minima_test(shares(first), shares(second - 0.3), flips)
        n_exact += result.p_value == pytest.approx(0.05)
        assert (result.p_value < 0.05) == (not result.interval.contains(0.0))
    assert n_exact


def test_languages_may_have_different_items() -> None:
    generator = np.random.default_rng(5)
    has_item = np.ones((N_CLUSTERS, 2))
    has_item[::2, 0], has_item[:20, 1] = 0.0, 0.0
    sides = [
        LanguageShares(
            right_answers(generator, chances) * has_item / has_item.sum(axis=0), has_item / has_item.sum(axis=0)
        )
        for chances in ((0.9, 0.95), (0.4, 0.9))
    ]
    result = minima_test(sides[0], sides[1], FLIPS, bound=1.0)
    assert result.difference == sides[0].values.min() - sides[1].values.min()
    assert result.p_value < 0.05 < result.interval.low
