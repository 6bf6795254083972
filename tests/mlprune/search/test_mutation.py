"""Changes of a point."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.search.draws import generator_for
from mlprune.search.level_units import LevelUnits
from mlprune.search.mutation import mutate, start_point
from mlprune.search.space import Axis, Space

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
