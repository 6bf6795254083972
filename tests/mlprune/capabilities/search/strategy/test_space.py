"""Search spaces, combinations of levels with a weighted sum, and the registry of methods."""

from collections import Counter
from dataclasses import fields
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.capabilities.search.strategy.level_units import LevelSums, LevelUnits, reachable_sums
from mlprune.capabilities.search.strategy.method import ItemBudget, Settings, VariantBudget
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS, build_method
from mlprune.capabilities.search.strategy.space import (
    Axis,
    Space,
    draw_below,
    draw_new_points,
    generator_for,
    mutate,
    start_point,
)
from mlprune.errors import RecipeError
from tests.refusals import refused

UNITS = LevelUnits(("0", "1", "2"), (10, 10, 20), (0.5, 0.6, 0.7), 0.6)
SCORES = Axis("score", ("wanda", "ria"))
SPACE = Space((SCORES, Axis("schedule.spread", (0.1, 0.2, 0.3))), UNITS)


def test_points_are_all_combinations_with_the_total_in_lexicographic_order() -> None:
    levels = [levels for levels in product(range(3), repeat=3) if levels[0] + levels[1] + 2 * levels[2] == 4]
    expected = [(*axes, *chosen) for axes in product(range(2), range(3)) for chosen in levels]
    assert list(SPACE.points()) == expected
    assert SPACE.n_points == len(expected)
    assert sorted(SPACE.at(rank) for rank in range(SPACE.n_points)) == expected
    assert all(SPACE.rank(SPACE.at(rank)) == rank for rank in range(SPACE.n_points))


def test_a_point_has_values_and_levels_by_name() -> None:
    assert SPACE.values((1, 2, 0, 2, 1)) == {"score": "ria", "schedule.spread": 0.3}
    assert SPACE.unit_levels((1, 2, 0, 2, 1)) == {"0": 0.5, "1": 0.7, "2": 0.6}
    assert SPACE.sparsity((1, 2, 0, 2, 1)) == 0.6


def test_axes_alone_are_a_space() -> None:
    space = Space((SCORES,))
    assert (space.n_points, list(space.points()), space.at(1), space.rank((1,))) == (2, [(0,), (1,)], (1,), 1)
    assert (space.sparsity((0,)), space.unit_levels((0,))) == (None, {})


def test_empty_spaces_and_repeated_axes_are_refused() -> None:
    for axes in ((), (SCORES, SCORES)):
        with pytest.raises(RecipeError):
            Space(axes)
    with pytest.raises(RecipeError):
        Axis("score", ())


DRAWS_SPACE = Space((Axis("a", tuple(range(5))), Axis("b", tuple(range(4)))))


def test_generators_are_keyed_by_seed_purpose_and_number() -> None:
    keys = [(0, "random", 0), (1, "random", 0), (0, "halving", 0), (0, "random", 1), (-1, "random", 0)]
    drawn = [draw_below(generator_for(*key), 10**30) for key in keys]
    assert len(set(drawn)) == len(keys)
    assert drawn[0] == 542832973658673964120807211110  # the same on every machine
    assert drawn == [draw_below(generator_for(*key), 10**30) for key in keys]


def test_draws_are_uniform() -> None:
    counts = Counter(draw_below(generator_for(0, "test", number), 5) for number in range(1000))
    assert sorted(counts) == list(range(5))
    assert all(150 < count < 250 for count in counts.values())


def test_every_point_is_drawn_once() -> None:
    drawn = list(draw_new_points(DRAWS_SPACE, (), seed=3, first=0, purpose="random"))
    assert sorted(drawn) == list(DRAWS_SPACE.points())
    assert drawn != list(DRAWS_SPACE.points())


def test_draws_continue_after_the_points_that_were_asked() -> None:
    drawn = list(draw_new_points(DRAWS_SPACE, (), seed=3, first=0, purpose="random"))
    later = draw_new_points(DRAWS_SPACE, drawn[:7], seed=3, first=7, purpose="random")
    assert list(islice(later, 5)) == drawn[7:12]


LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
DRAWN_WEIGHTS = (10, 30, 10, 30, 10)
AXIS = Axis("score", ("wanda", "ria", "magnitude"))


def three_units(total: float | None) -> LevelUnits:
    """Units of two sizes."""
    return LevelUnits(tuple("abcde"), DRAWN_WEIGHTS, LEVELS, total)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.6, 0.7, None]))
def test_changes_stay_in_the_space_and_keep_the_total(number: int, max_changes: int, total: float | None) -> None:
    space = Space((AXIS,), three_units(total))
    points, point = set(space.points()), start_point(space)
    for step in range(5):
        changed = mutate(space, point, generator_for(0, "test", 5 * number + step), max_changes=max_changes)
        assert changed in points
        assert sum(before != after for before, after in zip(point, changed, strict=True)) <= 2 * max_changes
        point = changed
    if total is not None:
        assert space.sparsity(point) == total


def test_one_change_is_a_switch_between_units_with_equal_numbers_of_weights_or_another_value() -> None:
    space = Space((AXIS,), three_units(0.7))
    kinds: Counter[str] = Counter()
    for number in range(200):
        point = (1, 2, 2, 2, 2, 2)
        changed = mutate(space, point, generator_for(0, "test", number), max_changes=1)
        moves = [after - before for before, after in zip(point, changed, strict=True)]
        if moves[0]:
            kinds["axis"] += 1
            assert not any(moves[1:])
        else:
            kinds["switch"] += 1
            weights = [weight for weight, move in zip(DRAWN_WEIGHTS, moves[1:], strict=True) if move]
            assert sorted(move for move in moves if move) == [-1, 1]
            assert weights[0] == weights[1]
    assert min(kinds.values()) > 15


def test_the_start_is_the_most_even_point() -> None:
    assert start_point(Space((AXIS,), three_units(0.7))) == (0, 2, 2, 2, 2, 2)
    assert start_point(Space((), three_units(None))) == (2, 2, 2, 2, 2)
    assert start_point(Space((AXIS,))) == (0,)
    between = LevelUnits(tuple("abcd"), (1, 1, 1, 1), LEVELS, 0.65)
    assert sorted(start_point(Space((), between))) == [1, 1, 2, 2]
    uneven = LevelUnits(tuple("ab"), (1, 3), LEVELS, 0.55)  # not reached with 0.5 and 0.6 alone
    assert start_point(Space((), uneven)) == (2, 0)


def test_what_cannot_be_changed_stays() -> None:
    space = Space((Axis("a", (1,)),), LevelUnits(("a", "b"), (1, 2), (0.5, 0.6), 0.5))
    assert mutate(space, (0, 0, 0), generator_for(0, "test", 0), max_changes=3) == (0, 0, 0)


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
        ((1, 1), (0.5, 1.1), None),
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
    with refused(RecipeError, nearest=0.65):
        units((1, 1), total=0.66)


TWO_POINTS = Space((Axis("a", (1, 2)),))


def test_parameters_of_every_method_are_declared_for_the_recipe() -> None:
    assert all("bounds" in one.metadata for entry in SEARCH_METHODS.values() for one in fields(entry.parameters))


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with refused(RecipeError, nearest="random"):
        build_method("randm", TWO_POINTS, Settings())


@pytest.mark.parametrize("budget", [VariantBudget(0), ItemBudget(99)])
def test_a_budget_without_one_whole_trial_is_refused(budget: VariantBudget | ItemBudget) -> None:
    with pytest.raises(RecipeError):
        build_method("random", TWO_POINTS, Settings(rung_items=(10, 100), budget=budget))
