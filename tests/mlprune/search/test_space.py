"""Search spaces."""

from itertools import product

import pytest

from mlprune.errors import RecipeError
from mlprune.search.level_units import LevelUnits
from mlprune.search.space import Axis, Space

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
