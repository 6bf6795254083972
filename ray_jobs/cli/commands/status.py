"""`mlprune status`: show the progress of runs."""

import time
from typing import Annotated

import typer

from mlprune.store.run_status import RunStatus, State, StatusReader, StepStatus, format_duration, with_labels
from mlprune.store.store import Store
from ray_jobs.cli.options import StoreOption, echo, format_report

MAX_FAILURES, MAX_CLAIMS = 5, 4
"""Failures and claims that are listed one by one."""


def status(
    *,
    store: StoreOption,
    last: Annotated[int, typer.Option(min=1, help="Show this many runs, and every older run that has claims.")] = 3,
    watch: Annotated[float, typer.Option(min=0, help="Refresh every N seconds until no run is active.")] = 0,
) -> None:
    """Show the progress of active runs and how earlier runs ended. It only reads, and needs no catalog.

    Example: mlprune status --store runs/
    """
    opened = Store(store)
    opened.require_current_version()
    reader = StatusReader(opened)
    while True:
        runs = reader.read(last=last)
        echo(format_report("\n\n".join(format_run(run) for run in runs)))
        if not watch or all(run.state != "running" for run in runs):
            return
        time.sleep(watch)
        echo()


def format_run(run: RunStatus) -> str:
    """Format a run as lines of text."""
    n_jobs = sum(step.n_jobs for step in run.steps.values())
    n_done = sum(step.n_done for step in run.steps.values())
    lines = [f"run {run.run_id} of {run.recipe} on {run.host} ({run.address}): {_format_state(run)}"]
    lines.append(f"  {n_done} of {n_jobs} jobs done in {format_duration(run.elapsed_s)}{_format_rate(run, n_done)}")
    lines += [_format_step(name, step) for name, step in run.steps.items()]
    lines += [f"  {search.describe()}" for search in run.searches]
    if run.n_retried:
        lines.append(f"  {run.n_retried} attempts were repeated")
    if run.working_on:
        works = ", ".join(with_labels(work, lambda _: None) for work in run.working_on[:MAX_CLAIMS])
        lines.append(f"  working on {works}{_more(len(run.working_on) - MAX_CLAIMS)}")
    lines += [f"  {worker}: {n} jobs" for worker, n in sorted(run.workers.items())]
    lines += [f"  failed: {failure}" for failure in run.failures[:MAX_FAILURES]]
    if len(run.failures) > MAX_FAILURES:
        lines.append(f"  failed:{_more(len(run.failures) - MAX_FAILURES)}: mlprune query failures")
    return "\n".join(lines)


def _format_step(name: str, step: StepStatus) -> str:
    failed = f", {step.n_failed} failed" if step.n_failed else ""
    mean = f", {step.spent_s / step.n_done:.2f} s each" if step.n_done and step.spent_s else ""
    return f"  {name:12} {step.n_done:6} done {step.n_left:6} left{failed}{mean}"


def _format_state(run: RunStatus) -> str:
    ago = format_duration(max(0.0, time.time() - run.last_seen_at.timestamp()))
    texts: dict[State, str] = {
        "running": "running",
        "silent": f"no sign of life for {ago}",
        "died": "the process died",
        "done": f"done {ago} ago",
        "failed": f"ended {ago} ago, some jobs failed",
        "stopped": f"stopped {ago} ago",
    }
    return "; ".join(part for part in (texts[run.state], run.advice) if part)


def _format_rate(run: RunStatus, n_done: int) -> str:
    """Format the rate, the share that is done by time, and the time left."""
    rate = f", {60 * n_done / run.elapsed_s:.1f} per minute" if n_done and run.elapsed_s else ""
    share = f", {100 * run.estimate.share:.0f} %" if run.estimate else ""
    left = f", about {format_duration(run.remaining_s)} left" if run.remaining_s is not None else ""
    return rate + share + left


def _more(n: int) -> str:
    return f" and {n} more" if n > 0 else ""
