"""What variants that are evaluated in batches need, and how long they take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from mlprune.planning.resources.estimate import Needs, estimate_duration
from mlprune.planning.resources.node_capacity import Pool
from mlprune.planning.resources.rates import Rates
from mlprune.steps.job import JobCost


@dataclass(frozen=True)
class TrialsCost:
    """What the trials of one rung, or probes, need."""

    n_items: int | None
    """Items per language; None for all."""
    batches: tuple[int, ...]
    """Trials of each batch."""
    n_scored: int
    """Items, over all tasks and languages, that one trial scores."""
    trial: JobCost
    """Evaluations of one trial."""
    sweeps: tuple[JobCost, ...] = ()
    """Passes of the model that make the masks of sampled trials; empty if no trial needs one."""
    n_dense: int = 1
    """Evaluations of the dense model in the first batch."""

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return sum(self.batches)

    @property
    def n_items_scored(self) -> int:
        """Items, over all tasks and languages, that all trials score."""
        return self.n_trials * self.n_scored

    def seconds(self, needs: Needs, pool: Pool, rates: Rates) -> float | None:
        """Estimate the duration: batch after batch, with the dense model in the first one; None if a rate is unknown.

        The trials of a batch run at the same time, as far as there are workers.
        """

        @cache
        def batch_seconds(n_trials: int, n_made: int) -> float | None:
            made = [self.sweeps[index % len(self.sweeps)] for index in range(n_made)] if self.sweeps else []
            costs = (*made, *[self.trial] * n_trials)
            duration = estimate_duration(replace(needs, costs=costs), pool, rates)
            return None if duration is None else duration.total_s

        each = [batch_seconds(size + self.n_dense * (index == 0), size) for index, size in enumerate(self.batches)]
        return total_seconds(each)


def total_seconds(times: Sequence[float | None]) -> float | None:
    """Return the sum of some durations; None if one is unknown."""
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None
