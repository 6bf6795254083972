"""Combinations of levels whose weighted sum is given: counting, ranking and the combination at a rank.

A unit of weight w at level index k adds w * k to the sum. Units of equal weight form a class. Counts are exact
integers, so spaces of any size can be numbered, and a uniform draw of a number is a uniform draw of a combination.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from math import prod

Counts = Mapping[int, int]
"""Sum -> number of combinations that have it."""


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
