"""Progress of one run, as the page shows it. The program that starts the page reads it from the logs of runs."""

from dataclasses import dataclass
from datetime import datetime

from catalog.visible_text import visible
from mlprune.json_values import JsonObject
from mlprune.timestamps import timestamp

MAX_FAILURES = 50
"""Failures that the page lists; it states the number of all."""


@dataclass(frozen=True)
class StepProgress:
    """Jobs of one step."""

    name: str
    n_jobs: int
    n_done: int
    n_failed: int


@dataclass(frozen=True)
class RunProgress:
    """Progress and state of one run."""

    run_id: str
    name: str
    """The recipe, or the command if it has none."""
    host: str
    state: str
    """running, silent, died, done, failed or stopped."""
    advice: str
    """What the user can do about the state; empty for nothing."""
    started_at: datetime
    last_seen_at: datetime | None
    """Time of the end, or of the last sign of life; None for a running one."""
    steps: tuple[StepProgress, ...]
    failures: tuple[str, ...]
    searches: tuple[str, ...]
    """A line per search."""
    working_on: tuple[str, ...]
    """Records that it is computing."""
    n_retried: int
    remaining_s: float | None
    """Estimated remaining time; None if it is unknown or nothing remains."""

    def to_json(self) -> JsonObject:
        """Return the content of the page, without the estimate of the remaining time, which changes all the time."""
        return {
            "id": visible(self.run_id),
            "name": visible(self.name),
            "host": visible(self.host),
            "state": self.state,
            "advice": self.advice,
            "started_at": timestamp(self.started_at),
            "last_seen_at": timestamp(self.last_seen_at) if self.last_seen_at else None,
            "steps": [
                {"name": visible(step.name), "n_jobs": step.n_jobs, "n_done": step.n_done, "n_failed": step.n_failed}
                for step in self.steps
            ],
            "failures": [visible(failure) for failure in self.failures[:MAX_FAILURES]],
            "n_failures": len(self.failures),
            "searches": [visible(search) for search in self.searches],
            "working_on": [visible(record) for record in self.working_on],
            "n_retried": self.n_retried,
        }
