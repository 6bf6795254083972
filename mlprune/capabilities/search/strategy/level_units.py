"""Units with levels of sparsity, and combinations of levels whose weighted mean is given.

Combinations of levels whose weighted sum is given: counting, ranking and the combination at a rank.

A unit of weight w at level index k adds w * k to the sum. Units of equal weight form a class. Counts are exact
integers, so spaces of any size can be numbered, and a uniform draw of a number is a uniform draw of a combination.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, product
from math import gcd, prod
from typing import TypeAlias

from mlprune.errors import RecipeError

Counts = Mapping[int, int]
"""Sum -> number of combinations that have it."""
Levels: TypeAlias = tuple[int, ...]
"""Index of the level of every unit."""


class LevelSums:
    """The combinations of level indices of units with a given weighted sum.

    Their order of rank: by the sums of the classes, in order of the classes' first units; then by the indices of the
    units of the first class, then of the second. It is lexicographic if all units have the same weight.
    """

    def __init__(self, weights: Sequence[int], n_levels: int, *, target: int) -> None:
        self.weights = tuple(weights)
        self.n_levels = n_levels
        self.target = target
        self.classes = tuple(
            tuple(unit for unit, other in enumerate(weights) if other == weight) for weight in dict.fromkeys(weights)
        )

    @property
    def n_combinations(self) -> int:
        """Number of combinations with the sum."""
        return self._class_suffixes[0].get(self.target, 0)

    def at(self, rank: int) -> tuple[int, ...]:
        """Return the combination at a rank from 0."""
        levels = [0] * len(self.weights)
        class_sums, rank = self._class_sums_at(rank)
        counts = [self._counts(units)[len(units)][total] for units, total in zip(self.classes, class_sums, strict=True)]
        for position, (units, total) in enumerate(zip(self.classes, class_sums, strict=True)):
            n_after = prod(counts[position + 1 :])
            chosen = _levels_at(self._counts(units), total, rank // n_after)
            rank %= n_after
            for unit, level in zip(units, chosen, strict=True):
                levels[unit] = level
        return tuple(levels)

    def rank(self, levels: Sequence[int]) -> int:
        """Return the rank of a combination that has the sum."""
        class_levels = [[levels[unit] for unit in units] for units in self.classes]
        class_sums = [sum(chosen) for chosen in class_levels]
        rank = self._rank_of_class_sums(class_sums)
        within = 0
        for units, chosen, total in zip(self.classes, class_levels, class_sums, strict=True):
            counts = self._counts(units)
            within = within * counts[len(units)][total] + _rank_of_levels(counts, chosen)
        return rank + within

    def _counts(self, units: Sequence[int]) -> Sequence[Counts]:
        """Number of units -> counts of the sums of their indices."""
        return self._unit_counts[: len(units) + 1]

    @cached_property
    def _unit_counts(self) -> tuple[Counts, ...]:
        counts: list[Counts] = [{0: 1}]
        for n_units in range(1, max((len(units) for units in self.classes), default=0) + 1):
            before = counts[-1]
            counts.append(
                {
                    total: sum(before.get(total - level, 0) for level in range(self.n_levels))
                    for total in range(n_units * (self.n_levels - 1) + 1)
                }
            )
        return tuple(counts)

    @cached_property
    def _class_suffixes(self) -> tuple[Counts, ...]:
        """First class -> counts of the weighted sums of it and all later classes, up to the target."""
        suffixes: list[Counts] = [{0: 1}]
        for units in reversed(self.classes):
            weight = self.weights[units[0]]
            counts: dict[int, int] = {}
            for later, n_later in suffixes[-1].items():
                for total, n_class in self._unit_counts[len(units)].items():
                    reached = later + weight * total
                    if reached <= self.target:
                        counts[reached] = counts.get(reached, 0) + n_later * n_class
            suffixes.append(counts)
        return tuple(reversed(suffixes))

    def _class_sums_at(self, rank: int) -> tuple[list[int], int]:
        """Return the sum of each class at a rank, and the rank among the combinations with these sums."""
        missing, chosen, n_before = self.target, [], 1
        for position, units in enumerate(self.classes):
            weight, counts = self.weights[units[0]], self._unit_counts[len(units)]
            for total, n_class in counts.items():
                n_here = n_before * n_class * self._class_suffixes[position + 1].get(missing - weight * total, 0)
                if rank < n_here:
                    break
                rank -= n_here
            chosen.append(total)
            missing -= weight * total
            n_before *= n_class
        return chosen, rank

    def _rank_of_class_sums(self, class_sums: Sequence[int]) -> int:
        missing, rank, n_before = self.target, 0, 1
        for position, (units, chosen) in enumerate(zip(self.classes, class_sums, strict=True)):
            weight, counts = self.weights[units[0]], self._unit_counts[len(units)]
            suffix = self._class_suffixes[position + 1]
            rank += n_before * sum(
                n_class * suffix.get(missing - weight * total, 0) for total, n_class in counts.items() if total < chosen
            )
            missing -= weight * chosen
            n_before *= counts[chosen]
        return rank


def reachable_sums(weights: Sequence[int], n_levels: int) -> list[int]:
    """Return, for each unit and for the end, the weighted sums of it and all later units, as the set bits of a number.

    Bit s is set if some levels of the units have the sum s.
    """
    steps = [(weight, n_levels) for weight in reversed(weights)]
    return list(accumulate(steps, lambda reached, step: _shifted(reached, *step), initial=1))[::-1]


def _shifted(reached: int, weight: int, n_levels: int) -> int:
    moved = 0
    for level in range(n_levels):
        moved |= reached << (weight * level)
    return moved


def _levels_at(counts: Sequence[Counts], total: int, rank: int) -> list[int]:
    """Return the levels at a rank, in lexicographic order, of units whose indices have a sum."""
    levels = []
    for n_later in range(len(counts) - 2, -1, -1):
        level = 0
        while rank >= (n_here := counts[n_later].get(total - level, 0)):
            rank -= n_here
            level += 1
        levels.append(level)
        total -= level
    return levels


def _rank_of_levels(counts: Sequence[Counts], levels: Sequence[int]) -> int:
    total, rank = sum(levels), 0
    for position, level in enumerate(levels):
        later = counts[len(levels) - position - 1]
        rank += sum(later.get(total - lower, 0) for lower in range(level))
        total -= level
    return rank


@dataclass(frozen=True)
class LevelUnits:
    """Parts of the model, such as blocks, each of which gets one of several levels of sparsity."""

    names: tuple[str, ...]
    n_weights: tuple[int, ...]
    """Weights of each unit."""
    levels: tuple[float, ...]
    """Increasing; a unit at level 1 is removed."""
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
        if not self.levels or not is_increasing or not 0 <= self.levels[0] <= self.levels[-1] <= 1:
            raise RecipeError(
                "levels are out of order or range", expected="0 <= first < ... < last <= 1", got=self.levels
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
