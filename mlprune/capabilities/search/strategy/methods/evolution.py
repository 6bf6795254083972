"""Evolution: changes of the best point so far, with selection over the rungs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mlprune.capabilities.search.strategy import method
from mlprune.capabilities.search.strategy.space import Point, Space, draw_new_points, generator_for, mutate, start_point
from mlprune.methods import Parameters, parameter

SWEEPS = 10
"""Passes over the places of a point when the effects are fitted."""
SHRINKAGE = 1.0
"""Added to the number of trials that have a value: it pulls effects of few trials towards 0."""
MAX_TRIES = 100
"""Changes that are drawn for a trial before a random new point takes its place."""
N_CHANGED = 16
"""New points of which a guided trial is the most promising one."""


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


def fit_main_effects(trials: Sequence[method.EvaluatedTrial], sizes: Sequence[int]) -> MainEffects:
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
    for rank, index in enumerate(sorted(range(len(trials)), key=lambda index: method.rank_key(trials[index]))):
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


@dataclass(frozen=True)
class EvolutionParameters(Parameters):
    """Parameters of method evolution."""

    max_changes: int = parameter(3, "most places that a new trial changes", at_least=1)
    guided: float = parameter(
        0.75, "share of new trials that are the most promising of 16 changes", at_least=0, below=1
    )
    eta: float = parameter(4.0, "one new trial in eta is promoted to the next rung", above=1)


@dataclass(frozen=True)
class Evolution:
    """Change the best point so far, its parent, and select among the new points over the rungs.

    A generation has `batch` new points, fewer at the end of the budget. The first one is the start, the most even
    point, and changes of it. floor(n / eta), at least 1, are promoted from each rung to the next; the best trial on
    all items, earlier parents included, is the parent of the next generation. Without rungs, every new point is
    evaluated on all items.

    A new point differs from the parent by min(U1, U2) changes for two uniform draws from 1 to max_changes. A change
    switches levels between two units with equal numbers of weights, so a total stays exactly; without a total, it moves
    one unit to the next level; on an axis, it takes another value. Points that were proposed before are drawn again,
    100 times; then a random new point takes their place. The search ends with the budget or the space.

    Of every four new points, three are guided (parameter `guided`): of 16 changed points, the one with the highest sum
    of effects is proposed, by an additive model of all trials so far (`fit_main_effects`). With `guided: 0`, the method
    only depends on which trial is the best one.

    Source: O. Sieberling et al., *EvoPress: Accurate Dynamic Model Compression via Evolutionary Search*,
    arXiv:2410.14649: one parent, level switches, number of changes, selection over growing samples. Different here: no
    point is evaluated twice, the parent competes with its own result on all items, axes, and guided changes.
    """

    space: Space
    settings: method.Settings

    @property
    def parameters(self) -> EvolutionParameters:
        """Parameters of the method."""
        assert isinstance(self.settings.parameters, EvolutionParameters)
        return self.settings.parameters

    def ask(self, history: Sequence[method.EvaluatedTrial]) -> tuple[method.ProposedTrial, ...]:
        """Return the new points that are promoted to the next rung, or those of a new generation."""
        batch = method.last_batch(history)
        if batch and batch[0].rung < self.settings.last_rung:
            return method.asked_again(method.promoted_share(batch, self.parameters.eta), self.settings)
        n_asked = method.largest_group(history, self.settings, most=self.settings.batch, eta=self.parameters.eta)
        finished = [trial for trial in history if trial.rung == self.settings.last_rung]
        parent = min(finished, key=method.rank_key, default=None)
        points = list(islice(self._new_points(history, parent), n_asked))
        return method.asked_first(points, self.settings, parent=None if parent is None else parent.number)

    def decide(
        self, history: Sequence[method.EvaluatedTrial], batch: Sequence[method.EvaluatedTrial]
    ) -> tuple[method.Decision, ...]:
        """Keep the promoted trials; on the last rung, the best trial so far, the next parent."""
        return method.decided_by_share(history, batch, self.settings, eta=self.parameters.eta)

    def _new_points(
        self, history: Sequence[method.EvaluatedTrial], parent: method.EvaluatedTrial | None
    ) -> Iterator[Point]:
        """Yield new points until the space is finished; the start first, if no trial is a parent yet."""
        asked = dict.fromkeys(method.points_of(history))
        origin = start_point(self.space) if parent is None else parent.point
        effects = None if parent is None else self._effects(history)
        if parent is None:
            asked[origin] = None
            yield origin
        while len(asked) < self.space.n_points:
            point = self._new_point(origin, asked, effects)
            asked[point] = None
            yield point

    def _new_point(self, origin: Point, asked: dict[Point, None], effects: MainEffects | None) -> Point:
        number, seed, guided = len(asked), self.settings.seed, self.parameters.guided
        is_guided = effects is not None and int((number + 1) * guided) > int(number * guided)
        changed = self._changes(origin, asked, generator_for(seed, "changes", number))
        found = list(islice(changed, N_CHANGED if is_guided else 1))
        if not found:
            return next(draw_new_points(self.space, asked, seed=seed, first=number, purpose="random"))
        return found[0] if effects is None else max(found, key=effects.score)

    def _changes(self, origin: Point, asked: dict[Point, None], generator: np.random.Generator) -> Iterator[Point]:
        """Yield changed points that were not asked, from a limited number of draws."""
        for _ in range(MAX_TRIES):
            point = mutate(self.space, origin, generator, max_changes=self.parameters.max_changes)
            if point not in asked:
                yield point

    def _effects(self, history: Sequence[method.EvaluatedTrial]) -> MainEffects:
        """Fit the effects to the trials of the lowest rung that has trials: that of whole generations."""
        lowest = min(trial.rung for trial in history)
        return fit_main_effects([trial for trial in history if trial.rung == lowest], self.space.sizes)
