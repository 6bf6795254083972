"""Changes of a point: switches of levels between units, steps of a level, and other values on an axis."""

import numpy as np

from mlprune.search.draws import draw_below
from mlprune.search.level_units import LevelUnits
from mlprune.search.space import Point, Space


def start_point(space: Space) -> Point:
    """Return the first value on every axis, and the most even levels.

    With a total: every unit at the level `total`; without such a level, the middle one of the combinations of the two
    levels around it, or of all levels. Without a total: the middle level, the lower one of two.
    """
    axes = (0,) * len(space.axes)
    if space.units is None:
        return axes
    units = space.units
    if units.total is None:
        return (*axes, *((len(units.levels) - 1) // 2,) * len(units.names))
    return (*axes, *(units.uniform or _most_even(units)))


def _most_even(units: LevelUnits) -> Point:
    assert units.total is not None
    below = max(index for index, level in enumerate(units.levels) if level <= units.total)
    around = units.between(below, below + 2)
    if around is None:
        return units.at(units.n_combinations // 2)
    return tuple(below + level for level in around.at(around.n_combinations // 2))


def mutate(space: Space, point: Point, generator: np.random.Generator, *, max_changes: int) -> Point:
    """Change a point at up to `max_changes` places, fewer ones more often: min of two uniform draws from 1.

    Each change picks an axis or a unit. An axis gets another of its values. A unit moves to the next level up or down;
    with a total, another unit with as many weights moves in the opposite direction, so the total stays exactly.
    """
    n_changes = 1 + min(draw_below(generator, max_changes), draw_below(generator, max_changes))
    for _ in range(n_changes):
        point = _change(space, point, generator)
    return point


def _change(space: Space, point: Point, generator: np.random.Generator) -> Point:
    """Change one place; return the point itself if the place drawn cannot be changed."""
    place = draw_below(generator, len(point))
    changed = list(point)
    if place < len(space.axes):
        n_values = len(space.axes[place].values)
        changed[place] = (point[place] + 1 + draw_below(generator, max(n_values - 1, 1))) % n_values
        return tuple(changed)
    units, unit = space.units, place - len(space.axes)
    assert units is not None
    step = 1 if draw_below(generator, 2) else -1
    if not 0 <= point[place] + step < len(units.levels):
        step = -step
    if not 0 <= point[place] + step < len(units.levels):
        return point
    changed[place] += step
    if units.total is None:
        return tuple(changed)
    partners = [
        len(space.axes) + other
        for other, weight in enumerate(units.weights)
        if other != unit
        and weight == units.weights[unit]
        and 0 <= point[len(space.axes) + other] - step < len(units.levels)
    ]
    if not partners:
        return point
    changed[partners[draw_below(generator, len(partners))]] -= step
    return tuple(changed)
