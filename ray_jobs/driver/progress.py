"""Progress on stderr: bars in a terminal and in a Jupyter notebook with ipywidgets, plain lines otherwise."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from rich import progress as bars
from rich.console import Console

from catalog.results import visible
from mlprune.steps.job import Job
from mlprune.store.run_status import remaining_s
from ray_jobs.process.verbosity import is_quiet
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome

LOG_INTERVAL_S = 5.0
"""Shortest time between two lines."""
MAX_FAILURES = 20
"""Failed jobs that are listed one by one."""
SPEED_PERIOD_S = 3600.0
"""Time over which the bars average the speed of a step; single jobs may take long."""


class VisibleConsole(Console):
    """A console that escapes characters which a terminal would interpret: names come from recipes and other stores.

    A quiet command prints errors only.
    """

    def print(self, *objects: Any, is_error: bool = False, **options: Any) -> None:
        """Print texts and other objects."""
        if is_quiet() and not is_error:
            return
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **options)


class Progress:
    """Shows the progress of a run. Use it as a context manager.

    Args:
        jobs: the jobs of the run.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._total = Counter(job.step for job in jobs)
        self._done: Counter[str] = Counter()
        self._spent: dict[str, float] = defaultdict(float)
        self._n_failed = 0
        self._started = self._printed_at = time.monotonic()
        self._console = VisibleConsole(stderr=True)
        self._bars: bars.Progress | None = None
        if sys.stderr.isatty() or _has_widgets(self._console):
            self._bars = bars.Progress(
                bars.TextColumn("{task.description:12}"),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TimeElapsedColumn(),
                bars.TimeRemainingColumn(),
                console=self._console,
                speed_estimate_period=SPEED_PERIOD_S,
            )
            self._tasks = {step: self._bars.add_task(step, total=n) for step, n in self._total.items()}

    def __enter__(self) -> "Progress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()
        else:
            self._print_counts()

    def add(self, jobs: Sequence[Job]) -> None:
        """Count further jobs of the run."""
        added = Counter(job.step for job in jobs)
        self._total.update(added)
        if self._bars:
            for step, total in self._total.items():
                if step not in self._tasks:
                    self._tasks[step] = self._bars.add_task(step, total=total)
                self._bars.update(self._tasks[step], total=total)

    def done(self, job: Job, outcome: Outcome) -> None:
        """Count a job that is done."""
        self._done[job.step] += 1
        self._spent[job.step] += outcome.elapsed_s
        if self._bars:
            self._bars.advance(self._tasks[job.step])
        elif time.monotonic() - self._printed_at > LOG_INTERVAL_S:
            self._print_counts()

    def failed(self, job: Job, failure: Failure) -> None:
        """Print a job that has failed; after `MAX_FAILURES` only that there are more."""
        self._n_failed += 1
        if self._n_failed <= MAX_FAILURES:
            self._print_error(f"failed: {job.step} {job.makes[-1][1]}: {failure.message}")
        elif self._n_failed == MAX_FAILURES + 1:
            self._print_error("failed: more jobs; to list all of them, run: mlprune query failures")

    def _print_error(self, line: str) -> None:
        self._console.print(line, is_error=True, markup=False, highlight=False, soft_wrap=True)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def _print_counts(self) -> None:
        """Print one line with the counts of all steps."""
        self._printed_at = time.monotonic()
        steps = ", ".join(f"{step} {self._done[step]}/{n}" for step, n in self._total.items())
        elapsed_s = self._printed_at - self._started
        left_s = remaining_s(self._total, self._done, self._spent, elapsed_s=elapsed_s)
        left = f", about {left_s:.0f} s left" if left_s is not None else ""
        self._console.print(f"{elapsed_s:6.0f} s  {steps}{left}", markup=False, highlight=False, soft_wrap=True)


def _has_widgets(console: Console) -> bool:
    """Return whether this is a Jupyter notebook in which rich can update what it has printed."""
    return console.is_jupyter and find_spec("ipywidgets") is not None
