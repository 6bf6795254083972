"""Search methods: their settings, budgets, and the two questions that a search asks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mlprune.methods import NO_PARAMETERS, Parameters
from mlprune.search.space import Point
from mlprune.search.trials import Decision, EvaluatedTrial, ProposedTrial, incumbent


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
