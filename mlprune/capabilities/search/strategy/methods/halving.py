"""Successive halving: many candidates on few items, and fewer and fewer on more."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mlprune.capabilities.search.strategy import method
from mlprune.capabilities.search.strategy.space import Point, Space, draw_new_points
from mlprune.methods import Parameters, parameter


@dataclass(frozen=True)
class HalvingParameters(Parameters):
    """Parameters of method halving."""

    eta: float = parameter(2.5, "one candidate in eta is promoted to the next rung", above=1)


@dataclass(frozen=True)
class Halving:
    """Evaluate candidates on the items of the first rung, and the best ones on those of each following rung.

    Of n candidates, floor(n / eta), at least 1, are promoted; of equal ones, those with the lower numbers. A single one
    is promoted to all items directly. Candidates are the whole space or, if the budget is smaller, points drawn without
    replacement: as many as the budget of variants, or the largest number for which the budget of items lasts to the
    last rung.

    Source: K. Jamieson and A. Talwalkar, *Non-stochastic Best Arm Identification and Hyperparameter Optimization*,
    arXiv:1502.07943. They divide a budget equally over the rungs and keep ceil(n / 2); here the rungs are given, and
    eta is a parameter.
    """

    space: Space
    settings: method.Settings

    @property
    def eta(self) -> float:
        """One candidate in eta is promoted."""
        assert isinstance(self.settings.parameters, HalvingParameters)
        return self.settings.parameters.eta

    def ask(self, history: Sequence[method.EvaluatedTrial]) -> tuple[method.ProposedTrial, ...]:
        """Return the candidates of the next rung."""
        batch = method.last_batch(history)
        if not batch:
            n_candidates = method.largest_group((), self.settings, most=self.space.n_points, eta=self.eta)
            return method.asked_first(candidates(self.space, n_candidates, seed=self.settings.seed), self.settings)
        if batch[0].rung == self.settings.last_rung:
            return ()
        return method.asked_again(method.promoted_share(batch, self.eta), self.settings)

    def decide(
        self, history: Sequence[method.EvaluatedTrial], batch: Sequence[method.EvaluatedTrial]
    ) -> tuple[method.Decision, ...]:
        """Keep the promoted candidates, and the best one of the last rung."""
        return method.decided_by_share(history, batch, self.settings, eta=self.eta)


def candidates(space: Space, n_candidates: int, *, seed: int) -> list[Point]:
    """Return the whole space in lexicographic order, or points that are drawn without replacement."""
    if n_candidates >= space.n_points:
        return list(space.points())
    return list(islice(draw_new_points(space, (), seed=seed, first=0, purpose="candidates"), n_candidates))
