"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from types import TracebackType

from rich import progress as bars
from rich.console import Console

from mlprune.steps.job import Job
from ray_jobs.driver.eta import remaining_s
from ray_jobs.workers.worker import Failure, Outcome

LINE_EVERY_S = 5.0
SHOWN_FAILURES = 20
"""Failed jobs that are named one by one."""
SPEED_OVER_S = 3600.0
"""Time over which the bars take a step's speed; a job may last long."""


class Progress:
    """Shows how far a run is. Use it as a context manager.

    Args:
        jobs: the jobs of the run.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._total = Counter(job.step for job in jobs)
        self._done: Counter[str] = Counter()
        self._spent: dict[str, float] = defaultdict(float)
        self._n_failed = 0
        self._started = self._said_at = time.monotonic()
        self._console = Console(stderr=True)
        self._bars: bars.Progress | None = None
        if sys.stderr.isatty():
            self._bars = bars.Progress(
                bars.TextColumn("{task.description:12}"),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TimeElapsedColumn(),
                bars.TimeRemainingColumn(),
                console=self._console,
                speed_estimate_period=SPEED_OVER_S,
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
            self._say()

    def done(self, job: Job, outcome: Outcome) -> None:
        """A job is done."""
        self._done[job.step] += 1
        self._spent[job.step] += outcome.elapsed_s
        if self._bars:
            self._bars.advance(self._tasks[job.step])
        elif time.monotonic() - self._said_at > LINE_EVERY_S:
            self._say()

    def failed(self, job: Job, failure: Failure) -> None:
        """A job failed for good; after some of them it is only said that there are more."""
        self._n_failed += 1
        if self._n_failed <= SHOWN_FAILURES:
            self._say_line(f"failed: {job.step} {job.makes[-1][1]}: {failure.message}")
        elif self._n_failed == SHOWN_FAILURES + 1:
            self._say_line("failed: more than these; mlprune query failures names all of them")

    def _say_line(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def _say(self) -> None:
        """One line for a log."""
        self._said_at = time.monotonic()
        steps = ", ".join(f"{step} {self._done[step]}/{n}" for step, n in self._total.items())
        elapsed = self._said_at - self._started
        remaining = remaining_s(self._total, self._done, self._spent, elapsed_s=elapsed)
        left = f", about {remaining:.0f} s left" if remaining is not None else ""
        self._console.print(f"{elapsed:6.0f} s  {steps}{left}", markup=False, highlight=False, soft_wrap=True)
