"""Search spaces: the combinations of the values of axes and of the levels of units."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import TypeAlias

from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue
from mlprune.search.level_units import Levels, LevelUnits

Point: TypeAlias = tuple[int, ...]
"""Index of the value on every axis, then index of the level of every unit."""


@dataclass(frozen=True)
class Axis:
    """A key of a variant entry, and the values that are tried."""

    name: str
    values: tuple[JsonValue, ...]

    def __post_init__(self) -> None:
        """Raise RecipeError if there are no values."""
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
