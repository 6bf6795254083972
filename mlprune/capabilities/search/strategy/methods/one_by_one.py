"""Removal one by one: each round tries every remaining unit, and removes the one that costs least."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

from mlprune.capabilities.search.strategy.method import Decision, EvaluatedTrial, ProposedTrial, Settings, rank_key
from mlprune.capabilities.search.strategy.space import Point, Space
from mlprune.errors import RecipeError
from mlprune.methods import Parameters, checked_parameters, parameter


@dataclass(frozen=True)
class OneByOneParameters(Parameters):
    """Parameters of method one_by_one."""

    units: int = parameter(0, "units that are removed; 0: all but one, or as the budget allows", at_least=0)


@dataclass(frozen=True)
class OneByOne:
    """Remove the unit without which the objective is best, then the next one: greedy, from the whole model on.

    A point has one place per unit: 1 if it is removed. A round is one batch: the point of the round before with each
    remaining unit removed in addition, in the order of the units. The best trial that meets the constraints and has a
    finite objective is kept; of equal ones, that without the lower unit. The search ends when no trial of a round does,
    when `units` are removed, when one unit remains, or when the budget does not allow a whole round.

    Sources: 2SSP (arXiv:2501.17771, abstract) removes attention sub-layers greedily by perplexity; arXiv:2510.22763
    (abstract) blocks by a metric of translations.
    """

    space: Space
    settings: Settings

    def __post_init__(self) -> None:
        """Check the number of units and the budget.

        Raises:
            RecipeError: no unit would remain, or the budget does not allow one round.
        """
        n_units = len(self.space.sizes)
        if not self.n_asked < n_units:
            expected = f"at most {n_units - 1} of {n_units} units"
            raise RecipeError("a search would remove all units", expected=expected, got=self.n_asked)
        affordable = self.settings.n_affordable((), self.settings.last_rung)
        if affordable is not None and affordable < n_units:
            expected = f"at least {n_units} trials, one for every unit"
            raise RecipeError("the budget does not allow one round", expected=expected, got=str(self.settings.budget))

    @property
    def n_asked(self) -> int:
        """Units that are removed at most."""
        parameters = checked_parameters(self.settings.parameters, OneByOneParameters)
        return parameters.units or max(1, len(self.space.sizes) - 1)

    def ask(self, history: Sequence[EvaluatedTrial]) -> tuple[ProposedTrial, ...]:
        """Return the trials of the next round."""
        kept = kept_trials(history)
        if len(kept) < len(_rounds(history)) or len(kept) == self.n_asked:
            return ()
        start = kept[-1].point if kept else (0,) * len(self.space.sizes)
        left = [unit for unit, is_removed in enumerate(start) if not is_removed]
        affordable = self.settings.n_affordable(history, self.settings.last_rung)
        if affordable is not None and affordable < len(left):
            return ()
        parent = kept[-1].number if kept else None
        return tuple(ProposedTrial(_without(start, unit), self.settings.last_rung, parent) for unit in left)

    def decide(self, history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> tuple[Decision, ...]:
        """Keep the best trial of the round, and name the constraints that others miss."""
        return tuple(_decision(trial, _best(batch)) for trial in batch)


def kept_trials(history: Sequence[EvaluatedTrial]) -> list[EvaluatedTrial]:
    """Return the trial that each round kept; the last round may have kept none."""
    best = (_best(trials) for trials in _rounds(history))
    return [trial for trial in best if trial is not None]


def last_kept(history: Sequence[EvaluatedTrial]) -> EvaluatedTrial | None:
    """Return the winner: the trial that the last round with one kept; None if the first round kept none."""
    return next(reversed(kept_trials(history)), None)


def _rounds(history: Sequence[EvaluatedTrial]) -> list[list[EvaluatedTrial]]:
    """Return the trials of each round: they have equally many units removed."""
    return [list(trials) for _, trials in groupby(history, key=lambda trial: sum(trial.point))]


def _best(trials: Sequence[EvaluatedTrial]) -> EvaluatedTrial | None:
    """Return the best trial of a round that meets the constraints; None if none does."""
    best = min(trials, key=rank_key)
    return best if best.is_feasible and best.objective > -inf else None


def _without(start: Point, unit: int) -> Point:
    return (*start[:unit], 1, *start[unit + 1 :])


def _decision(trial: EvaluatedTrial, best: EvaluatedTrial | None) -> Decision:
    if trial is best:
        return Decision(True, "best of its round")
    if trial.missed:
        return Decision(False, f"misses {' and '.join(trial.missed)}")
    if best is None:
        return Decision(False, "the objective is not finite")
    return Decision(False, f"trial {best.number} is better")
