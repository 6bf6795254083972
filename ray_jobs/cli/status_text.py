"""Text of `mlprune status`, and the progress of runs for the live page."""

import time
from collections.abc import Callable, Mapping, Sequence

from catalog.serve.live_state import RunProgress, StepProgress
from mlprune.counted import counted
from mlprune.errors import StoreError
from mlprune.store.store import Store
from ray_jobs.driver.run_log_entries import SearchState
from ray_jobs.driver.run_status import RunStatus, State, StatusReader, StepStatus

MAX_FAILURES, MAX_CLAIMS = 5, 4
"""Failures and claims that are listed one by one."""
ADVICE: Mapping[State, str] = {
    "silent": "if it died, rerun the same command to resume",
    "died": "rerun the same command to resume",
    "failed": "rerun the same command to retry the jobs that failed",
    "stopped": "rerun the same command to resume",
}
"""What the user can do about a state."""


def format_run(run: RunStatus) -> str:
    """Format a run as lines of text."""
    n_jobs = sum(step.n_jobs for step in run.steps.values())
    n_done = sum(step.n_done for step in run.steps.values())
    lines = [f"run {run.run_id} of {run.recipe} on {run.host} ({run.address}): {_format_state(run)}"]
    lines.append(f"  {n_done} of {n_jobs} jobs done in {_format_duration(run.elapsed_s)}{_format_rate(run, n_done)}")
    lines += [_format_step(name, step) for name, step in run.steps.items()]
    lines += [format_search(search) for search in run.searches]
    if run.n_retried:
        lines.append(f"  {run.n_retried} attempts were repeated")
    if run.working_on:
        lines.append(f"  working on {', '.join(run.working_on[:MAX_CLAIMS])}{_more(len(run.working_on) - MAX_CLAIMS)}")
    lines += [f"  {worker}: {n} jobs" for worker, n in sorted(run.workers.items())]
    lines += [f"  failed: {failure}" for failure in run.failures[:MAX_FAILURES]]
    if len(run.failures) > MAX_FAILURES:
        lines.append(f"  failed:{_more(len(run.failures) - MAX_FAILURES)}: mlprune query failures")
    return "\n".join(lines)


def _format_step(name: str, step: StepStatus) -> str:
    failed = f", {step.n_failed} failed" if step.n_failed else ""
    mean = f", {step.spent_s / step.n_done:.2f} s each" if step.n_done and step.spent_s else ""
    return f"  {name:12} {step.n_done:6} done {step.n_left:6} left{failed}{mean}"


def format_search(search: SearchState) -> str:
    """Format a search as one line: trials, items, rung, and the best trial of the rung."""
    if search.is_finished:
        text = f"finished, {counted(search.n_trials, 'trial')}, {search.n_items:,} items"
    else:
        text = f"{search.n_trials} of at most {counted(search.most_trials, 'trial')}, "
        text += f"{search.n_items:,} of at most {search.most_items:,} items"
    if search.n_rungs > 1 and search.rung:
        limit = "all" if search.item_limit is None else f"{search.item_limit:,}"
        text += f", rung {search.rung} of {search.n_rungs} ({limit} items)"
    if search.best is not None:
        value = "no finite value" if search.objective is None else f"{search.objective:.4g}"
        missed = "" if search.is_feasible else ", misses a constraint"
        text += f", best {value} (trial {search.best}{missed})"
    if search.is_finished and not (search.is_feasible and search.objective is not None):
        text += ", no winner"
    return f"  search {search.name}: {text}"


def _format_state(run: RunStatus) -> str:
    ago = _format_duration(max(0.0, time.time() - run.last_seen_at.timestamp()))
    texts: dict[State, str] = {
        "running": "running",
        "silent": f"no sign of life for {ago}",
        "died": "the process died",
        "done": f"done {ago} ago",
        "failed": f"ended {ago} ago, some jobs failed",
        "stopped": f"stopped {ago} ago",
    }
    return "; ".join(part for part in (texts[run.state], ADVICE.get(run.state)) if part)


def _format_rate(run: RunStatus, n_done: int) -> str:
    """Format the rate and the time left."""
    rate = f", {60 * n_done / run.elapsed_s:.1f} per minute" if n_done and run.elapsed_s else ""
    left = f", about {_format_duration(run.remaining_s)} left" if run.remaining_s is not None else ""
    return rate + left


def _more(n: int) -> str:
    return f" and {n} more" if n > 0 else ""


def _format_duration(seconds: float) -> str:
    """Format seconds as 75 s, 12 min or 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


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
