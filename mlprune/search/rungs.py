"""Rungs: how many trials of a group are promoted to each number of items, and what this costs."""

from bisect import bisect_right
from collections.abc import Sequence

from mlprune.search.method import ItemBudget, Settings, n_items_spent
from mlprune.search.space import Point
from mlprune.search.trials import Decision, EvaluatedTrial, ProposedTrial, ranked


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
