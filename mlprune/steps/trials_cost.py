"""What variants that are evaluated in batches cost, and their durations in text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlprune.counted import format_time
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


Seconds = Callable[[TrialsCost], float | None]
"""Duration of some trials or probes; None if a rate is unknown."""


def total_seconds(times: Sequence[float | None]) -> float | None:
    """Return the sum of some durations; None if one is unknown."""
    known = [time for time in times if time is not None]
    return sum(known) if len(known) == len(times) else None


def about(time: float | None) -> str:
    """Format an estimate; None is unknown."""
    return "time unknown" if time is None else f"about {format_time(time)}"
