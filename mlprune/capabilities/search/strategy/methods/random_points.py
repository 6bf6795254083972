"""Random search: points drawn uniformly without replacement."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mlprune.capabilities.search.strategy.method import (
    Decision,
    EvaluatedTrial,
    ProposedTrial,
    Settings,
    best_so_far,
    points_of,
)
from mlprune.capabilities.search.strategy.space import Space, draw_new_points


@dataclass(frozen=True)
class RandomPoints:
    """Evaluate random points on all items. The trials do not depend on the size of the batches."""

    space: Space
    settings: Settings

    def ask(self, history: Sequence[EvaluatedTrial]) -> tuple[ProposedTrial, ...]:
        """Return the next points."""
        drawn = draw_new_points(
            self.space, points_of(history), seed=self.settings.seed, first=len(history), purpose="random"
        )
        return tuple(
            ProposedTrial(point, self.settings.last_rung) for point in islice(drawn, self.settings.n_asked(history))
        )

    def decide(self, history: Sequence[EvaluatedTrial], batch: Sequence[EvaluatedTrial]) -> tuple[Decision, ...]:
        """Keep the best trial so far."""
        return best_so_far(history, batch)
