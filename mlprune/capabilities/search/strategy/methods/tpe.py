"""TPE: the tree-structured Parzen estimator of Optuna, with a study that is built again each time."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlprune.capabilities.search.strategy.method import (
    Decision,
    EvaluatedTrial,
    ProposedTrial,
    Settings,
    best_so_far,
    points_of,
    ranked,
)
from mlprune.capabilities.search.strategy.space import Point, Space, draw_below, draw_new_points, generator_for
from mlprune.errors import RecipeError
from mlprune.methods import Parameters, parameter

UNREACHABLE = 2**40
INSTALL = "pip install -e '.[search]'"
MAX_TRIES = 20
"""Points that the sampler draws for a trial before a random new point takes their place."""


def nearest_levels(wanted: Sequence[int], weights: Sequence[int], *, n_levels: int, target: int) -> tuple[int, ...]:
    """Return the levels whose weighted sum is the target, with the smallest sum of absolute differences.

    Of equally near ones, the first in lexicographic order. By dynamic programming over units and sums, in integers.

    Args:
        wanted: level index of each unit.
        weights: of each unit, as in the sum.
        target: a sum that some levels have.
    """
    distance = np.full(target + 1, UNREACHABLE, dtype=np.int64)
    distance[0] = 0
    after = [distance]
    for level, weight in zip(reversed(wanted), reversed(weights), strict=True):
        distance = np.full(target + 1, UNREACHABLE, dtype=np.int64)
        for index in range(min(n_levels, target // weight + 1)):
            moved = after[-1][: target + 1 - weight * index] + abs(index - level)
            distance[weight * index :] = np.minimum(distance[weight * index :], moved)
        after.append(distance)
    assert after[-1][target] < UNREACHABLE
    chosen, missing = [], target
    for level, weight, later in zip(wanted, weights, reversed(after[:-1]), strict=True):
        within = range(min(n_levels, missing // weight + 1))
        index = min(within, key=lambda index: int(later[missing - weight * index]) + abs(index - level))
        chosen.append(index)
        missing -= weight * index
    return tuple(chosen)


@dataclass(frozen=True)
class TpeParameters(Parameters):
    """Parameters of method tpe."""

    startup: int = parameter(10, "random trials before the first one that the estimator chooses", at_least=1)


@dataclass(frozen=True)
class Tpe:
    """Ask Optuna's sampler for points that are likely to be among the best ones.

    Every batch starts a new study with the trials evaluated so far, whose value is their rank, so infeasible trials and
    infinite values need no rule of their own. The seed of the sampler is drawn for (seed, "tpe", number of evaluated
    trials). Trials of the batch that are already proposed count as bad ones (constant liar). An axis is a categorical
    parameter and a unit an integer one. With a total, the levels become the nearest ones that have it. A point that was
    proposed before is drawn again, 20 times; then a random new point takes its place.

    The trials are the same for the same versions of Optuna and numpy.

    Source: J. Bergstra et al., *Algorithms for Hyper-Parameter Optimization*, NIPS 2011; T. Akiba et al., *Optuna*,
    arXiv:1907.10902.
    """

    space: Space
    settings: Settings

    def __post_init__(self) -> None:
        """Raise RecipeError if Optuna is not installed."""
        _optuna()

    def ask(self, history: Sequence[EvaluatedTrial]) -> tuple[ProposedTrial, ...]:
        """Return the next points."""
        asked = dict.fromkeys(points_of(history))
        n_asked = min(self.settings.n_asked(history), self.space.n_points - len(asked))
        if n_asked == 0:
            return ()
        study, points = self._study(history), []
        for _ in range(n_asked):
            point = self._new_point(study, asked)
            asked[point] = None
            points.append(point)
        return tuple(ProposedTrial(point, self.settings.last_rung) for point in points)

    def decide(self, history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> tuple[Decision, ...]:
        """Keep the best trial so far."""
        return best_so_far(history, batch)

    def _study(self, history: Sequence[EvaluatedTrial]) -> Any:
        """Return a study with the trials evaluated so far; lower values are better."""
        optuna = _optuna()
        assert isinstance(self.settings.parameters, TpeParameters)
        sampler = optuna.samplers.TPESampler(
            seed=draw_below(generator_for(self.settings.seed, "tpe", len(history)), 2**32),
            n_startup_trials=self.settings.parameters.startup,
            multivariate=False,
            constant_liar=True,
        )
        study = optuna.create_study(sampler=sampler, direction="minimize")
        ranks = {trial.number: rank for rank, trial in enumerate(ranked(history))}
        for trial in history:
            study.add_trial(self._trial(trial.point, value=float(ranks[trial.number])))
        return study

    def _new_point(self, study: Any, asked: dict[Point, None]) -> Point:
        """Return a new point, and add it to the study as a trial that runs."""
        optuna = _optuna()
        point = None
        for _ in range(MAX_TRIES):
            trial = study.ask(self._distributions())
            drawn = tuple(int(trial.params[str(place)]) for place in range(len(self.space.sizes)))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            point = self._in_space(drawn)
            if point not in asked:
                break
        else:
            drawing = draw_new_points(self.space, asked, seed=self.settings.seed, first=len(asked), purpose="random")
            point = next(drawing)
        study.add_trial(self._trial(point, value=None))
        return point

    def _in_space(self, drawn: Point) -> Point:
        axes, levels = self.space.parts(drawn)
        units = self.space.units
        if units is None or units.total is None:
            return drawn
        n_levels, target = len(units.levels), units.sums.target
        return (*axes, *nearest_levels(levels, units.weights, n_levels=n_levels, target=target))

    def _distributions(self) -> dict[str, Any]:
        optuna = _optuna()
        n_axes = len(self.space.axes)
        return {
            str(place): optuna.distributions.CategoricalDistribution(range(size))
            if place < n_axes
            else optuna.distributions.IntDistribution(0, size - 1)
            for place, size in enumerate(self.space.sizes)
        }

    def _trial(self, point: Point, *, value: float | None) -> Any:
        """Return a finished trial, or one that runs if it has no value."""
        optuna = _optuna()
        states = optuna.trial.TrialState
        return optuna.trial.create_trial(
            state=states.RUNNING if value is None else states.COMPLETE,
            value=value,
            params={str(place): index for place, index in enumerate(point)},
            distributions=self._distributions(),
        )


def _optuna() -> Any:
    """Import Optuna, without its messages.

    Raises:
        RecipeError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna  # noqa: PLC0415  # optional, and slow to import
    except ImportError as err:
        raise RecipeError("method tpe needs the package optuna, which is not installed", expected=INSTALL) from err
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
