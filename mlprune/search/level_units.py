"""Units with levels of sparsity, such as blocks, whose weighted mean can be given."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import product
from math import gcd
from typing import TypeAlias

from mlprune.errors import RecipeError
from mlprune.search.level_sums import LevelSums, reachable_sums

Levels: TypeAlias = tuple[int, ...]
"""Index of the level of every unit."""


@dataclass(frozen=True)
class LevelUnits:
    """Parts of the model, such as blocks, each of which gets one of several levels of sparsity."""

    names: tuple[str, ...]
    n_weights: tuple[int, ...]
    """Weights of each unit."""
    levels: tuple[float, ...]
    """Increasing."""
    total: float | None = None
    """Sparsity of all units together: the mean of their levels, weighted by their numbers of weights. Compared as
    decimal fractions, so it is exact. None if it is free."""

    def __post_init__(self) -> None:
        """Check the units.

        Raises:
            RecipeError: units or levels are missing, repeated or out of range; or with a total: the levels are not
                equally spaced, or no combination of levels has the total.
        """
        if not self.names or len(set(self.names)) != len(self.names) or len(self.names) != len(self.n_weights):
            raise RecipeError("units of levels need different names", expected="at least one", got=self.names)
        if min(self.n_weights) < 1:
            raise RecipeError("a unit has no weights", unit=self.names[self.n_weights.index(min(self.n_weights))])
        is_increasing = list(self.levels) == sorted(set(self.levels))
        if not self.levels or not is_increasing or not 0 <= self.levels[0] <= self.levels[-1] < 1:
            raise RecipeError(
                "levels are out of order or range", expected="0 <= first < ... < last < 1", got=self.levels
            )
        if self.total is not None:
            self._check_total(self.total)

    def _check_total(self, total: float) -> None:
        steps = {after - before for before, after in zip(self._exact_levels, self._exact_levels[1:], strict=False)}
        if len(steps) > 1:
            expected = "equally spaced levels, such as [0.5, 0.6, 0.7, 0.8, 0.9]"
            raise RecipeError("levels with a total are not equally spaced", expected=expected, got=self.levels)
        if not self.sums.n_combinations:
            nearest = self._nearest_total(total)
            raise RecipeError("no combination of levels has the total", got=total, levels=self.levels, nearest=nearest)

    @cached_property
    def sums(self) -> LevelSums:
        """The combinations of levels that have the total."""
        assert self.total is not None
        target = self._target(_exact(self.total))
        return LevelSums(self.weights, len(self.levels), target=int(target) if target.denominator == 1 else -1)

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Weights of the units, divided by their greatest common divisor."""
        divisor = gcd(*self.n_weights)
        return tuple(n // divisor for n in self.n_weights)

    @property
    def n_combinations(self) -> int:
        """Number of combinations of levels, with the total if there is one."""
        return len(self.levels) ** len(self.names) if self.total is None else self.sums.n_combinations

    @property
    def uniform(self) -> Levels | None:
        """Every unit at the level `total`; None without a total or without this level."""
        exact = None if self.total is None else _exact(self.total)
        if exact not in self._exact_levels:
            return None
        return (self._exact_levels.index(exact),) * len(self.names)

    def between(self, first: int, end: int) -> "LevelUnits | None":
        """Return the units with the levels from index `first` to `end` - 1 only; None if no combination is left."""
        try:
            return LevelUnits(self.names, self.n_weights, self.levels[first:end], self.total)
        except RecipeError:
            return None

    def combinations(self) -> Iterator[Levels]:
        """Yield the combinations of levels in lexicographic order."""
        if self.total is None:
            yield from product(range(len(self.levels)), repeat=len(self.names))
            return
        reachable = reachable_sums(self.weights, len(self.levels))
        yield from self._with_sum((), self.sums.target, reachable)

    def at(self, rank: int) -> Levels:
        """Return the combination at a rank from 0; the order is not specified, but the same everywhere."""
        if self.total is not None:
            return self.sums.at(rank)
        levels = []
        for _ in self.names:
            rank, level = divmod(rank, len(self.levels))
            levels.append(level)
        return tuple(reversed(levels))

    def rank(self, levels: Levels) -> int:
        """Return the rank of a combination: the inverse of `at`."""
        if self.total is not None:
            return self.sums.rank(levels)
        rank = 0
        for level in levels:
            rank = rank * len(self.levels) + level
        return rank

    def sparsity(self, levels: Levels) -> float:
        """Return the mean of the levels, weighted by the numbers of weights."""
        exact = sum(weight * self._exact_levels[level] for weight, level in zip(self.weights, levels, strict=True))
        return float(exact / sum(self.weights))

    @cached_property
    def _exact_levels(self) -> tuple[Fraction, ...]:
        return tuple(_exact(level) for level in self.levels)

    def _target(self, total: Fraction) -> Fraction:
        """Return the sum of weight times level index that gives a total."""
        above = (total - self._exact_levels[0]) * sum(self.weights)
        if len(self.levels) == 1:
            return Fraction(-1 if above else 0)
        return above / (self._exact_levels[1] - self._exact_levels[0])

    def _nearest_total(self, total: float) -> float:
        """Return the reachable total next to one, the lower of two that are equally near."""
        target = self._target(_exact(total))
        reached = reachable_sums(self.weights, len(self.levels))[0]
        sums = [index for index in range(reached.bit_length()) if reached >> index & 1]
        step = self._exact_levels[1] - self._exact_levels[0] if len(self.levels) > 1 else Fraction(0)
        best = min(sums, key=lambda index: abs(index - target))
        return float(self._exact_levels[0] + step * best / sum(self.weights))

    def _with_sum(self, chosen: Levels, missing: int, reachable: list[int]) -> Iterator[Levels]:
        if len(chosen) == len(self.names):
            yield chosen
            return
        for level in range(len(self.levels)):
            after = missing - self.weights[len(chosen)] * level
            if after >= 0 and reachable[len(chosen) + 1] >> after & 1:
                yield from self._with_sum((*chosen, level), after, reachable)


def _exact(value: float) -> Fraction:
    return Fraction(Decimal(str(value)))
