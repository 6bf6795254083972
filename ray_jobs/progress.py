"""Progress on stderr: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from mlprune.steps.jobs import Job
from ray_jobs.worker import Failure, Outcome

LINE_EVERY_S = 5.0


class Progress:
    """Shows how far a run is. Use it as a context manager.

    Args:
        jobs: the jobs of the run.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._total = Counter(job.step for job in jobs)
        self._done: Counter[str] = Counter()
        self._started = self._said_at = time.monotonic()
        self._console = Console(stderr=True)
        self._bars: RichProgress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn())
            self._bars = RichProgress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console)
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
        if self._bars:
            self._bars.advance(self._tasks[job.step])
        elif time.monotonic() - self._said_at > LINE_EVERY_S:
            self._say()

    def failed(self, job: Job, failure: Failure) -> None:
        """A job failed for good."""
        self._console.print(f"failed: {job.step} {job.makes[-1][1]}: {failure.message}", markup=False, soft_wrap=True)

    def _say(self) -> None:
        """One line for a log."""
        self._said_at = time.monotonic()
        steps = ", ".join(f"{step} {self._done[step]}/{n}" for step, n in self._total.items())
        done, total = self._done.total(), self._total.total()
        elapsed = self._said_at - self._started
        left = f", about {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
        self._console.print(f"{elapsed:6.0f} s  {steps}{left}", markup=False, highlight=False, soft_wrap=True)
