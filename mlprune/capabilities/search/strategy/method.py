"""Search methods: their settings and budgets, the trials they propose, and rungs of items."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mlprune.capabilities.search.strategy.space import Point
from mlprune.methods import NO_PARAMETERS, Parameters


@dataclass(frozen=True)
class ProposedTrial:
    """A point that is to be evaluated at a rung. All trials of a batch have the same rung."""

    point: Point
    rung: int = 0
    """Index of the number of items on which it is evaluated; the last rung is all items."""
    parent: int | None = None
    """Number of the trial it was derived from: of the same point at the rung below, or of the changed one."""


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
    missed: tuple[str, ...] = ()
    """The constraints that it misses; known to methods that remove units."""

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


@dataclass(frozen=True)
class VariantBudget:
    """Most different points that a search evaluates, at whatever rung."""

    n_variants: int

    def __str__(self) -> str:
        """Write it as a recipe does."""
        return f"variants: {self.n_variants}"


@dataclass(frozen=True)
class ItemBudget:
    """Most items x languages that a search scores: the sum of `n_new_items` over its trials."""

    n_items: int

    def __str__(self) -> str:
        """Write it as a recipe does."""
        return f"items: {self.n_items}"


Budget: TypeAlias = VariantBudget | ItemBudget


@dataclass(frozen=True)
class Settings:
    """Settings of a search that a method reads."""

    parameters: Parameters = NO_PARAMETERS
    """Of the method: an instance of the class that its registry entry names."""
    seed: int = 0
    batch: int = 8
    """Trials that are proposed at a time by methods that do not propose whole rungs."""
    rung_items: tuple[int, ...] = (1,)
    """Items x languages that are scored for a trial up to each rung, increasing. The last rung is all items; methods
    without rungs have only this one."""
    budget: Budget | None = None
    """None: the whole space."""
    reuses_items: bool = True
    """Whether a trial at a higher rung scores only the items that it has not been scored on at lower ones."""

    @property
    def last_rung(self) -> int:
        """The rung with all items."""
        return len(self.rung_items) - 1

    def n_new_items(self, rung: int, *, after: int | None) -> int:
        """Return the items x languages that one trial scores at a rung.

        Args:
            after: the highest rung at which its point was evaluated; None if it was not.
        """
        n_reused = self.rung_items[after] if self.reuses_items and after is not None else 0
        return self.rung_items[rung] - n_reused

    def n_affordable(self, history: Sequence[EvaluatedTrial], rung: int) -> int | None:
        """Return the number of new points that the budget allows at a rung; None if it has no limit."""
        if isinstance(self.budget, VariantBudget):
            return max(0, self.budget.n_variants - len(points_of(history)))
        if isinstance(self.budget, ItemBudget):
            return max(0, self.budget.n_items - n_items_spent(history)) // self.rung_items[rung]
        return None

    def n_asked(self, history: Sequence[EvaluatedTrial]) -> int:
        """Return the size of the next batch of a method without rungs: `batch`, fewer at the end of the budget."""
        affordable = self.n_affordable(history, self.last_rung)
        return self.batch if affordable is None else min(self.batch, affordable)


class SearchMethod(Protocol):
    """Strategy of a search. Both functions are pure: the same history gives the same answer on any machine.

    The history has whole batches in the order in which they were proposed. No point is proposed twice at the same rung,
    and the budget is never exceeded.
    """

    def ask(self, history: Sequence[EvaluatedTrial]) -> tuple[ProposedTrial, ...]:
        """Return the next batch, all of one rung; empty if the search is finished."""
        ...

    def decide(self, history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> tuple[Decision, ...]:
        """Return for each trial of a batch whether it is kept, and why.

        Args:
            history: the trials evaluated before the batch.
        """
        ...


def points_of(history: Sequence[EvaluatedTrial]) -> tuple[Point, ...]:
    """Return the different points of a history in the order in which they were first proposed."""
    return tuple(dict.fromkeys(trial.point for trial in history))


def n_items_spent(history: Sequence[EvaluatedTrial]) -> int:
    """Return the items x languages that a search has scored so far."""
    return sum(trial.n_new_items for trial in history)


def best_so_far(history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> tuple[Decision, ...]:
    """Decide for methods that evaluate each point once: the best trial so far is kept, the others are stopped."""
    best = incumbent(history, batch)
    return tuple(
        Decision(True, "best so far") if trial is best else Decision(False, f"trial {best.number} is better")
        for trial in batch
    )


def next_rung(n_trials: int, settings: Settings, *, after: int) -> int:
    """Return the next rung of promoted trials: the next one, or the last one for a single trial."""
    return settings.last_rung if n_trials == 1 else after + 1


def n_promoted(n_trials: int, eta: float) -> int:
    """Return how many of the trials of a rung are promoted to the next one: floor(n / eta), at least 1."""
    return max(1, int(n_trials / eta))


def group_cost(n_trials: int, settings: Settings, *, eta: float) -> int:
    """Return the items x languages that are scored for a group of new points from its first rung to the last one.

    A single point starts at the last rung.
    """
    rung, before, cost = next_rung(n_trials, settings, after=-1), None, 0
    while True:
        cost += n_trials * settings.n_new_items(rung, after=before)
        if rung == settings.last_rung:
            return cost
        n_trials = n_promoted(n_trials, eta)
        rung, before = next_rung(n_trials, settings, after=rung), rung


def largest_group(history: Sequence[EvaluatedTrial], settings: Settings, *, most: int, eta: float) -> int:
    """Return the size of the largest group of new points that the rest of the budget brings to the last rung.

    Args:
        most: largest size that is useful.
    """
    affordable = settings.n_affordable(history, 0)
    most = most if affordable is None else min(most, affordable)
    if isinstance(settings.budget, ItemBudget):
        left = settings.budget.n_items - n_items_spent(history)
        return bisect_right(range(1, most + 1), left, key=lambda size: group_cost(size, settings, eta=eta))
    return most


def last_batch(history: Sequence[EvaluatedTrial]) -> Sequence[EvaluatedTrial]:
    """Return the trials at the end of a history that have the same rung; none for an empty history."""
    if not history:
        return ()
    n_trials = next((n for n, trial in enumerate(reversed(history)) if trial.rung != history[-1].rung), len(history))
    return history[len(history) - n_trials :]


def promoted(batch: Sequence[EvaluatedTrial], n_kept: int) -> list[EvaluatedTrial]:
    """Return the best trials of a rung in the order of their numbers. Of equal trials, it takes the lower numbers."""
    return sorted(ranked(batch)[:n_kept], key=lambda trial: trial.number)


def promoted_share(batch: Sequence[EvaluatedTrial], eta: float) -> list[EvaluatedTrial]:
    """Return the best trials of a rung, one of `eta`, in the order of their numbers."""
    return promoted(batch, n_promoted(len(batch), eta))


def asked_first(points: Sequence[Point], settings: Settings, *, parent: int | None = None) -> tuple[ProposedTrial, ...]:
    """Ask new points at their first rung: the lowest one, or the last one for a single point."""
    rung = next_rung(len(points), settings, after=-1)
    return tuple(ProposedTrial(point, rung, parent) for point in points)


def asked_again(trials: Sequence[EvaluatedTrial], settings: Settings) -> tuple[ProposedTrial, ...]:
    """Ask trials of one rung at the rung that follows."""
    rung = next_rung(len(trials), settings, after=trials[0].rung)
    return tuple(ProposedTrial(trial.point, rung, trial.number) for trial in trials)


def promotions(
    batch: Sequence[EvaluatedTrial], kept: Sequence[EvaluatedTrial], settings: Settings
) -> tuple[Decision, ...]:
    """Decide for a rung below the last one, with the rank of each trial as the reason."""
    rung = next_rung(len(kept), settings, after=batch[0].rung)
    ranks = {trial.number: rank for rank, trial in enumerate(ranked(batch), start=1)}
    numbers = {trial.number for trial in kept}
    return tuple(
        Decision(
            trial.number in numbers,
            f"rank {ranks[trial.number]} of {len(batch)}: {len(kept)} evaluated on {settings.rung_items[rung]} items",
        )
        for trial in batch
    )


def decided_by_share(
    history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial], settings: Settings, *, eta: float
) -> tuple[Decision, ...]:
    """Keep the best trials of a rung, one of `eta`; on the last rung, the best trial so far."""
    if batch[0].rung == settings.last_rung:
        return best_so_far(history, batch)
    return promotions(batch, promoted_share(batch, eta), settings)
