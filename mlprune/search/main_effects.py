"""Additive model of trials: the effect of each value and level on the rank of a trial."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.search.space import Point
from mlprune.search.trials import EvaluatedTrial, rank_key

SWEEPS = 10
"""Passes over the places of a point when the effects are fitted."""
SHRINKAGE = 1.0
"""Added to the number of trials that have a value: it pulls effects of few trials towards 0."""


@dataclass(frozen=True)
class MainEffects:
    """Effects of the values and levels of a space."""

    effects: tuple[NDArray[np.float64], ...]
    """For each place of a point, the effect of each index; positive is better."""

    def score(self, point: Point) -> float:
        """Return the sum of the effects of a point, added in the order of its places."""
        total = 0.0
        for effect, index in zip(self.effects, point, strict=True):
            total += float(effect[index])
        return total


def fit_main_effects(trials: Sequence[EvaluatedTrial], sizes: Sequence[int]) -> MainEffects:
    """Fit effects to the ranks of trials by backfitting.

    The target of the trial with rank r of n, the best one first, is 1/2 - (r - 1/2) / n. Starting at 0, the effects of
    one place after the other become the means of what the other places leave of the target, shrunken: sum / (count +
    1); ten times over all places. Ranks keep infinite and infeasible results from deciding alone. All sums are added in
    the order of the trials, so the effects are the same on every machine.

    Args:
        trials: evaluated on the same items.
        sizes: number of values or levels of each place.
    """
    targets = np.empty(len(trials))
    for rank, index in enumerate(sorted(range(len(trials)), key=lambda index: rank_key(trials[index]))):
        targets[index] = 0.5 - (rank + 0.5) / len(trials)
    columns = np.array([trial.point for trial in trials], dtype=np.int64).T
    counts = [np.bincount(column, minlength=size) + SHRINKAGE for column, size in zip(columns, sizes, strict=True)]
    effects = [np.zeros(size) for size in sizes]
    for _ in range(SWEEPS):
        for place, column in enumerate(columns):
            targets += effects[place][column]
            effects[place] = np.bincount(column, targets, minlength=sizes[place]) / counts[place]
            targets -= effects[place][column]
    return MainEffects(tuple(effects))
