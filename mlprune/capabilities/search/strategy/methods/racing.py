"""Racing: a candidate is dropped as soon as a test says that it is worse than the best one."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.capabilities.search.strategy import method
from mlprune.capabilities.search.strategy.methods.halving import candidates
from mlprune.capabilities.search.strategy.space import Space
from mlprune.methods import Parameters, parameter


@dataclass(frozen=True)
class RacingParameters(Parameters):
    """Parameters of method racing."""

    alpha: float = parameter(0.05, "largest probability that the best candidate is dropped by a test", above=0, below=1)


@dataclass(frozen=True)
class Racing:
    """Evaluate candidates on growing numbers of items, and drop those that a test finds worse than the best one.

    At every rung but the last (a look), each candidate is compared with the incumbent, the best one on the same items,
    by the one-sided p-value of paired differences. It is dropped if p <= alpha / (L (n - 1)), for L looks and n
    candidates at the start: equal shares of alpha for the looks, and of each share for the comparisons.

    Guarantee: without constraints, the best candidate is dropped by a test with a probability of at most alpha. It is
    dropped only if its test against some other candidate at some look rejects although it is not worse; these are at
    most L (n - 1) tests, and each rejects with a probability of at most its level, whichever candidate is the incumbent
    and however the tests depend on each other. This needs p-values that are valid at each look. The items of a look
    have to be drawn without looking at the results. Constraints are judged by point estimates: no candidate is dropped
    for missing one before the last rung, and none is dropped by an incumbent that misses one.

    A budget of items may also end the race of candidates: each rung gets an equal part of what is left, and the worst
    of the remaining candidates are stopped if there are too many for it. The guarantee does not cover these. A single
    candidate is promoted to all items directly. Candidates at the start are the whole space or, if the budget is
    smaller, points drawn without replacement: at most the budget of variants, and at most as many as the first rung's
    equal part of the budget of items allows.

    Sources: O. Maron and A. Moore, *Hoeffding Races*, NIPS 1993; M. Birattari et al., *A Racing Algorithm for
    Configuring Metaheuristics*, GECCO 2002 (there with Friedman's test, and without a correction for looks).
    """

    space: Space
    settings: method.Settings

    @property
    def n_candidates(self) -> int:
        """Candidates at the start."""
        n_points = self.space.n_points
        match self.settings.budget:
            case method.VariantBudget(n_variants):
                return min(n_points, n_variants)
            case method.ItemBudget(n_items):
                return min(n_points, self._n_affordable(n_items, rung=0, after=None))
            case None:
                return n_points

    @property
    def level(self) -> float:
        """Largest p-value that drops a candidate."""
        assert isinstance(self.settings.parameters, RacingParameters)
        return self.settings.parameters.alpha / max(1, self.settings.last_rung * (self.n_candidates - 1))

    def ask(self, history: Sequence[method.EvaluatedTrial]) -> tuple[method.ProposedTrial, ...]:
        """Return the candidates of the next rung."""
        batch = method.last_batch(history)
        if not batch:
            return method.asked_first(candidates(self.space, self.n_candidates, seed=self.settings.seed), self.settings)
        if batch[0].rung == self.settings.last_rung:
            return ()
        return method.asked_again(self._kept(batch, method.n_items_spent(history)), self.settings)

    def decide(
        self, history: Sequence[method.EvaluatedTrial], batch: Sequence[method.EvaluatedTrial]
    ) -> tuple[method.Decision, ...]:
        """Keep the promoted candidates, and the best one of the last rung."""
        if batch[0].rung == self.settings.last_rung:
            return method.best_so_far(history, batch)
        best = method.incumbent((), batch)
        kept = {trial.number for trial in self._kept(batch, method.n_items_spent((*history, *batch)))}
        return tuple(self._decision(trial, best, is_kept=trial.number in kept) for trial in batch)

    def _kept(self, batch: Sequence[method.EvaluatedTrial], n_spent: int) -> list[method.EvaluatedTrial]:
        """Return the candidates of a rung that no test drops and that the budget allows, by number."""
        best = method.incumbent((), batch)
        racing = [trial for trial in batch if not self._is_dropped(trial, best)]
        if isinstance(self.settings.budget, method.ItemBudget):
            left, rung = self.settings.budget.n_items - n_spent, batch[0].rung
            return method.promoted(racing, self._n_affordable(left, rung=rung + 1, after=rung))
        return method.promoted(racing, len(racing))

    def _is_dropped(self, trial: method.EvaluatedTrial, best: method.EvaluatedTrial) -> bool:
        is_worse = trial.p_worse is not None and trial.p_worse <= self.level
        return trial is not best and best.is_feasible and is_worse

    def _decision(self, trial: method.EvaluatedTrial, best: method.EvaluatedTrial, *, is_kept: bool) -> method.Decision:
        if trial is best:
            return method.Decision(True, "best on these items")
        if is_kept:
            return method.Decision(True, f"not worse than trial {best.number} at level {self.level:.2g}")
        if self._is_dropped(trial, best):
            return method.Decision(
                False, f"worse than trial {best.number}: p = {trial.p_worse:.2g}, level {self.level:.2g}"
            )
        return method.Decision(False, "the budget allows fewer candidates")

    def _n_affordable(self, n_items: int, *, rung: int, after: int | None) -> int:
        """Return how many trials an equal part of a number of items brings to a rung, at least 1.

        What is left then still brings one trial to the last rung.
        """
        cost = self.settings.n_new_items(rung, after=after)
        last = self.settings.last_rung
        reserve = 0 if rung == last else self.settings.n_new_items(last, after=rung)
        return max(1, min(n_items // (last - rung + 1), n_items - reserve) // cost)
