"""Units with levels of sparsity."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import RecipeError
from mlprune.search.level_units import LevelUnits

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
