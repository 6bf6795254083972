"""Search spaces: axes, units with levels, random draws, and changes of a point."""

import hashlib
from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import TypeAlias

import numpy as np

from mlprune.capabilities.search.strategy.level_units import Levels, LevelUnits
from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue

Point: TypeAlias = tuple[int, ...]
"""Index of the value on every axis, then index of the level of every unit."""


@dataclass(frozen=True)
class Axis:
    """A key of a variant entry, and the values that are tried."""

    name: str
    values: tuple[JsonValue, ...]

    def __post_init__(self) -> None:
        """Raise RecipeError if values are missing."""
        if not self.values:
            raise RecipeError("an axis of a search has no values", axis=self.name, expected="a list of values")


@dataclass(frozen=True)
class Space:
    """All combinations of values of the axes and of levels of the units."""

    axes: tuple[Axis, ...]
    units: LevelUnits | None = None

    def __post_init__(self) -> None:
        """Raise RecipeError if there is nothing to choose, or if two axes have the same name."""
        names = [axis.name for axis in self.axes]
        if (not names and self.units is None) or len(set(names)) != len(names):
            raise RecipeError("the space of a search needs axes with different names, or levels", got=names)

    @cached_property
    def n_points(self) -> int:
        """Number of points."""
        return prod(len(axis.values) for axis in self.axes) * (1 if self.units is None else self.units.n_combinations)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of every axis, then number of levels of every unit."""
        levels = () if self.units is None else (len(self.units.levels),) * len(self.units.names)
        return (*(len(axis.values) for axis in self.axes), *levels)

    def points(self) -> Iterator[Point]:
        """Yield all points in lexicographic order: with a total, only those that have it."""
        for choice in product(*(range(len(axis.values)) for axis in self.axes)):
            if self.units is None:
                yield choice
            else:
                yield from (choice + levels for levels in self.units.combinations())

    def parts(self, point: Point) -> tuple[Point, Levels]:
        """Return the indices of the values on the axes, and the indices of the levels of the units."""
        return point[: len(self.axes)], point[len(self.axes) :]

    def values(self, point: Point) -> dict[str, JsonValue]:
        """Return the value on every axis by its name."""
        return {axis.name: axis.values[index] for axis, index in zip(self.axes, point, strict=False)}

    def unit_levels(self, point: Point) -> dict[str, float]:
        """Return the level of every unit by its name; empty without units."""
        if self.units is None:
            return {}
        _, levels = self.parts(point)
        return {name: self.units.levels[level] for name, level in zip(self.units.names, levels, strict=True)}

    def sparsity(self, point: Point) -> float | None:
        """Return the sparsity of all units together, weighted by their numbers of weights; None without units."""
        return None if self.units is None else self.units.sparsity(self.parts(point)[1])

    def at(self, rank: int) -> Point:
        """Return the point at a rank from 0 to n_points - 1; the order is not specified, but the same everywhere."""
        levels: Levels = ()
        if self.units is not None:
            rank, rank_of_levels = divmod(rank, self.units.n_combinations)
            levels = self.units.at(rank_of_levels)
        choice = []
        for axis in reversed(self.axes):
            rank, index = divmod(rank, len(axis.values))
            choice.append(index)
        return (*reversed(choice), *levels)

    def rank(self, point: Point) -> int:
        """Return the rank of a point: the inverse of `at`."""
        choice, levels = self.parts(point)
        rank = 0
        for index, axis in zip(choice, self.axes, strict=True):
            rank = rank * len(axis.values) + index
        return rank if self.units is None else rank * self.units.n_combinations + self.units.rank(levels)


def generator_for(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the generator of one draw: PCG64 seeded with the first 16 bytes of the SHA-256 of "seed:purpose:number".

    Args:
        seed: of the search.
        purpose: name of the kind of draw.
        number: number of the trial, or of the first trial of the batch, for which the draw is.
    """
    key = hashlib.sha256(f"{seed}:{purpose}:{number}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "little")))


def draw_below(generator: np.random.Generator, n: int) -> int:
    """Draw an integer of any size from 0 to n - 1. Its probabilities differ from 1 / n by less than 2**-64 / n."""
    n_bytes = (n.bit_length() + 7) // 8 + 8
    return int.from_bytes(generator.bytes(n_bytes), "little") % n


def draw_new_points(space: Space, asked: Iterable[Point], *, seed: int, first: int, purpose: str) -> Iterator[Point]:
    """Yield points in random order that were not asked, until the space is finished.

    Each draw is uniform over the points that are left. The point with number n is drawn with the generator of
    (seed, purpose, n), so it does not depend on how trials are cut into batches.

    Args:
        asked: points to leave out.
        first: number of the trial that gets the first point.
    """
    taken = sorted({space.rank(point) for point in asked})
    number = first
    while len(taken) < space.n_points:
        rank = draw_below(generator_for(seed, purpose, number), space.n_points - len(taken))
        for lower in taken:
            if lower > rank:
                break
            rank += 1
        insort(taken, rank)
        yield space.at(rank)
        number += 1


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
