"""Exhaustive search: all points in lexicographic order."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mlprune.capabilities.search.strategy.method import Decision, EvaluatedTrial, ProposedTrial, Settings, best_so_far
from mlprune.capabilities.search.strategy.space import Space


@dataclass(frozen=True)
class Exhaustive:
    """Evaluate every point on all items. With a budget, the first points in lexicographic order."""

    space: Space
    settings: Settings

    def ask(self, history: Sequence[EvaluatedTrial]) -> tuple[ProposedTrial, ...]:
        """Return the next points."""
        points = islice(self.space.points(), len(history), len(history) + self.settings.n_asked(history))
        return tuple(ProposedTrial(point, self.settings.last_rung) for point in points)

    def decide(self, history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> tuple[Decision, ...]:
        """Keep the best trial so far."""
        return best_so_far(history, batch)
