"""Search spaces."""

from collections import Counter
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import RecipeError
from mlprune.search.level_units import LevelUnits
from mlprune.search.space import Axis, Space, draw_below, draw_new_points, generator_for, mutate, start_point

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
WEIGHTS = (10, 30, 10, 30, 10)
AXIS = Axis("score", ("wanda", "ria", "magnitude"))


def units(total: float | None) -> LevelUnits:
    """Units of two sizes."""
    return LevelUnits(tuple("abcde"), WEIGHTS, LEVELS, total)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from([0.6, 0.7, None]))
def test_changes_stay_in_the_space_and_keep_the_total(number: int, max_changes: int, total: float | None) -> None:
    space = Space((AXIS,), units(total))
    points, point = set(space.points()), start_point(space)
    for step in range(5):
        changed = mutate(space, point, generator_for(0, "test", 5 * number + step), max_changes=max_changes)
        assert changed in points
        assert sum(before != after for before, after in zip(point, changed, strict=True)) <= 2 * max_changes
        point = changed
    if total is not None:
        assert space.sparsity(point) == total


def test_one_change_is_a_switch_between_units_with_equal_numbers_of_weights_or_another_value() -> None:
    space = Space((AXIS,), units(0.7))
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
            weights = [weight for weight, move in zip(WEIGHTS, moves[1:], strict=True) if move]
            assert sorted(move for move in moves if move) == [-1, 1]
            assert weights[0] == weights[1]
    assert min(kinds.values()) > 15


def test_the_start_is_the_most_even_point() -> None:
    assert start_point(Space((AXIS,), units(0.7))) == (0, 2, 2, 2, 2, 2)
    assert start_point(Space((), units(None))) == (2, 2, 2, 2, 2)
    assert start_point(Space((AXIS,))) == (0,)
    between = LevelUnits(tuple("abcd"), (1, 1, 1, 1), LEVELS, 0.65)
    assert sorted(start_point(Space((), between))) == [1, 1, 2, 2]
    uneven = LevelUnits(tuple("ab"), (1, 3), LEVELS, 0.55)  # not reached with 0.5 and 0.6 alone
    assert start_point(Space((), uneven)) == (2, 0)


def test_what_cannot_be_changed_stays() -> None:
    space = Space((Axis("a", (1,)),), LevelUnits(("a", "b"), (1, 2), (0.5, 0.6), 0.5))
    assert mutate(space, (0, 0, 0), generator_for(0, "test", 0), max_changes=3) == (0, 0, 0)
