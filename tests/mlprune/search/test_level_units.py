"""Counting, ranking and listing of combinations of levels with a given weighted sum."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import RecipeError
from mlprune.search.level_units import LevelSums, LevelUnits, reachable_sums

WEIGHTS = st.lists(st.sampled_from([1, 2, 5]), min_size=1, max_size=5)


@settings(deadline=None, max_examples=25)
@given(WEIGHTS, st.integers(1, 4), st.integers(0, 30))
def test_ranks_number_exactly_the_combinations_with_the_sum(weights: list[int], n_levels: int, target: int) -> None:
    sums = LevelSums(weights, n_levels, target=target)
    listed = [
        levels
        for levels in product(range(n_levels), repeat=len(weights))
        if sum(weight * level for weight, level in zip(weights, levels, strict=True)) == target
    ]
    numbered = [sums.at(rank) for rank in range(sums.n_combinations)]
    assert sorted(numbered) == listed
    assert [sums.rank(levels) for levels in numbered] == list(range(len(listed)))
    if len(set(weights)) == 1:
        assert numbered == listed


@settings(deadline=None, max_examples=25)
@given(WEIGHTS, st.integers(1, 4))
def test_reachable_sums_are_those_of_some_levels(weights: list[int], n_levels: int) -> None:
    for first, bits in enumerate(reachable_sums(weights, n_levels)):
        later = weights[first:]
        reached = {
            sum(w * k for w, k in zip(later, levels, strict=True))
            for levels in product(range(n_levels), repeat=len(later))
        }
        assert {index for index in range(bits.bit_length()) if bits >> index & 1} == reached


def test_large_models_are_counted_exactly() -> None:
    """The blocks and layers of 32 blocks with two sizes of layers."""
    sums = LevelSums([16, 16, 16, 16, 43, 43, 43] * 32, 5, target=2 * 32 * (4 * 16 + 3 * 43))
    rank = sums.n_combinations // 3
    levels = sums.at(rank)
    assert sums.rank(levels) == rank
    assert sum(weight * level for weight, level in zip(sums.weights, levels, strict=True)) == sums.target
    assert 5**219 < sums.n_combinations < 5**220  # one combination in 1,600 has the mean sum


LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)


def units(n_weights: tuple[int, ...], levels: tuple[float, ...] = LEVELS, *, total: float | None = None) -> LevelUnits:
    """Units with names from 0."""
    return LevelUnits(tuple(map(str, range(len(n_weights)))), n_weights, levels, total)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([100, 300]), min_size=1, max_size=4), st.sampled_from(LEVELS))
def test_combinations_with_a_total_have_exactly_this_mean(n_weights: list[int], total: float) -> None:
    chosen = units(tuple(n_weights), total=total)
    weight = sum(n_weights)
    expected = [
        levels
        for levels in product(range(5), repeat=len(n_weights))
        if abs(sum(n * LEVELS[k] for n, k in zip(n_weights, levels, strict=True)) / weight - total) < 1e-9
    ]
    assert list(chosen.combinations()) == expected
    assert chosen.n_combinations == len(expected)
    assert {chosen.sparsity(levels) for levels in expected} == {total}
    assert sorted(chosen.at(rank) for rank in range(len(expected))) == expected
    assert all(chosen.at(chosen.rank(levels)) == levels for levels in expected)


def test_without_a_total_every_combination_is_allowed() -> None:
    chosen = units((1, 2), (0.1, 0.5))
    assert list(chosen.combinations()) == [(0, 0), (0, 1), (1, 0), (1, 1)] == [chosen.at(rank) for rank in range(4)]
    assert chosen.uniform is None
    assert chosen.sparsity((1, 0)) == pytest.approx((0.5 + 0.2) / 3)


def test_uniform_is_the_level_of_the_total() -> None:
    assert units((1, 1), total=0.7).uniform == (2, 2)
    assert units((1, 1), total=0.65).uniform is None


@pytest.mark.parametrize(
    ("n_weights", "levels", "total"),
    [
        ((), LEVELS, None),
        ((1, 0), LEVELS, None),
        ((1, 1), (), None),
        ((1, 1), (0.5, 0.5), None),
        ((1, 1), (0.6, 0.5), None),
        ((1, 1), (0.5, 1.0), None),
        ((1, 1), (0.5, 0.6, 0.8), 0.6),
        ((1, 1), LEVELS, 0.66),
        ((1, 1), (0.5,), 0.6),
        ((1, 1), LEVELS, 0.95),
    ],
)
def test_impossible_units_are_refused(
    n_weights: tuple[int, ...], levels: tuple[float, ...], total: float | None
) -> None:
    with pytest.raises(RecipeError):
        units(n_weights, levels, total=total)


def test_a_total_that_no_combination_has_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(RecipeError) as caught:
        units((1, 1), total=0.66)
    assert caught.value.context["nearest"] == 0.65
