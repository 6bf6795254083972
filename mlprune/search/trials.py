"""Trials of a search: proposed ones, evaluated ones, and the order by which they are ranked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlprune.search.space import Point


@dataclass(frozen=True)
class ProposedTrial:
    """A point that is to be evaluated at a rung. All trials of a batch have the same rung."""

    point: Point
    rung: int = 0
    """Index of the number of items on which it is evaluated; the last rung is all items."""
    parent: int | None = None
    """Number of the trial it was derived from: of the same point at the rung below, or of the one that was changed."""


@dataclass(frozen=True)
class EvaluatedTrial:
    """A trial that was evaluated."""

    number: int
    """From 0, in the order in which the trials were proposed."""
    point: Point
    rung: int
    parent: int | None
    n_items: int
    """Items x languages that its numbers are based on."""
    n_new_items: int
    """Those of `n_items` that were scored for this trial, and not for the same point at a lower rung."""
    objective: float
    """Higher is better, always: a search that minimises reports the negative. Not a number counts as minus infinity."""
    violation: float
    """Sum of the violations of the constraints; 0 if the trial is feasible."""
    p_worse: float | None = None
    """One-sided p-value that its objective is not below that of the `incumbent` of its batch; a small one says that it
    is worse. None for the incumbent."""

    @property
    def is_feasible(self) -> bool:
        """Whether it meets all constraints."""
        return self.violation == 0


@dataclass(frozen=True)
class Decision:
    """Whether a trial is kept, and why."""

    is_kept: bool
    reason: str


def rank_key(trial: EvaluatedTrial) -> tuple[float, float, int]:
    """Return a key that sorts trials, the best first.

    Feasible trials come first, then those with a smaller violation; then the higher objective decides, then the lower
    number. A violation that is not a number counts as infinite.
    """
    violation = trial.violation if trial.violation == trial.violation else float("inf")
    objective = trial.objective if trial.objective == trial.objective else float("-inf")
    return violation, -objective, trial.number


def ranked(trials: Iterable[EvaluatedTrial]) -> list[EvaluatedTrial]:
    """Sort trials, the best first."""
    return sorted(trials, key=rank_key)


def incumbent(history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> EvaluatedTrial:
    """Return the trial with which a batch is compared: the best one evaluated at its rung, the batch included.

    It has been evaluated on the same items as the batch.
    """
    rung = batch[0].rung
    return min((trial for trial in (*history, *batch) if trial.rung == rung), key=rank_key)


def winner(history: Sequence[EvaluatedTrial]) -> EvaluatedTrial | None:
    """Return the best trial of the highest rung that was reached; None if no trial was evaluated.

    It is feasible if any trial of that rung is; otherwise it is the one with the smallest violation.
    """
    rung = max((trial.rung for trial in history), default=None)
    return min((trial for trial in history if trial.rung == rung), key=rank_key, default=None)
