"""Progress of runs for the live page, from their logs."""

from collections.abc import Callable, Sequence

from catalog.serve.run_progress import RunProgress, StepProgress
from mlprune.errors import StoreError
from mlprune.store.store import Store
from ray_jobs.cli.status_text import ADVICE, format_search
from ray_jobs.driver.status.run_status import RunStatus, StatusReader

N_RUNS = 5
"""Newest runs that the page shows, in addition to all active ones."""


def runs_reader(store: Store) -> Callable[[], Sequence[RunProgress]]:
    """Return a function that reads the newest runs, and none if no run has written to the store."""
    reader = StatusReader(store)

    def read() -> Sequence[RunProgress]:
        try:
            return [run_progress(run) for run in reader.read(last=N_RUNS)]
        except StoreError:
            return []

    return read


def run_progress(run: RunStatus) -> RunProgress:
    """Convert the status of a run."""
    return RunProgress(
        run_id=run.run_id,
        name=run.recipe,
        host=run.host,
        state=run.state,
        advice=ADVICE.get(run.state, ""),
        started_at=run.started_at,
        last_seen_at=None if run.state == "running" else run.last_seen_at,
        steps=tuple(StepProgress(name, step.n_jobs, step.n_done, step.n_failed) for name, step in run.steps.items()),
        failures=run.failures,
        searches=tuple(format_search(search) for search in run.searches),
        working_on=run.working_on,
        n_retried=run.n_retried,
        remaining_s=run.remaining_s,
    )
