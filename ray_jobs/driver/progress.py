"""Progress on stderr: one line in place on a terminal and in a Jupyter notebook with ipywidgets, lines otherwise."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from rich import progress as bars
from rich.console import Console

from catalog.results import visible
from mlprune.processes.job_parts import JobParts, RunningParts
from mlprune.processes.remaining_time import Estimate, MeasuredWork
from mlprune.steps.job import Job
from mlprune.store.run_status import format_duration
from ray_jobs.driver.job_units import NO_UNITS, JobUnits, kind_of
from ray_jobs.process.verbosity import is_quiet
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome

LOG_INTERVAL_S = 15.0
"""Time between two lines while jobs finish."""
MAX_LOG_INTERVAL_S = 60.0
"""Longest time between two lines; jobs of large models take long."""
REFRESHES_PER_S = 2.0
"""How often the line on a terminal is drawn again."""
MAX_FAILURES = 20
"""Failed jobs that are listed one by one."""
MIN_BAR, MAX_BAR = 10, 40
"""Least and largest width of the bar on a terminal."""
PERCENT_WIDTH = len(" 100 %  ")
ANNOUNCED_S = 10.0
"""Least remaining time of a job for which the cost of a block is printed."""


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
    """Shows the progress of a run: one line in place, or a line from time to time. Use it as a context manager.

    Args:
        jobs: the jobs of the run.
        parts: returns how far the running jobs are.
        units: of the jobs.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        parts: Callable[[], RunningParts] = dict,
        units: JobUnits = NO_UNITS,
    ) -> None:
        self._parts = parts
        self._units = units
        self._work = MeasuredWork(units.with_jobs({}, jobs), units.flops)
        self._announced: set[str] = set()
        """Steps for which the cost of a block was printed."""
        self._total = Counter(job.step for job in jobs)
        self._done: Counter[str] = Counter()
        self._n_failed = 0
        self._share = 0.0
        """Largest share of the run that was shown, by time."""
        self._started = self._printed_at = time.monotonic()
        self._n_printed = -1
        """Finished jobs when the last line was printed."""
        self._console = VisibleConsole(stderr=True)
        self._ended = threading.Event()
        self._bar: bars.Progress | None = None
        if sys.stderr.isatty() or _has_widgets(self._console):
            self._bar_column = bars.BarColumn(bar_width=MIN_BAR)
            self._bar = bars.Progress(
                self._bar_column,
                bars.TextColumn("{task.percentage:>3.0f} %  {task.description}", markup=False),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task(self._state(self._text_width), total=1.0)

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        threading.Thread(target=self._show_regularly, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar:
            self._draw()
            self._bar.stop()
        else:
            self._print_state()

    def add(self, jobs: Sequence[Job]) -> None:
        """Count further jobs of the run."""
        self._total.update(job.step for job in jobs)
        self._work.planned = self._units.with_jobs(self._work.planned, jobs)

    def done(self, job: Job, outcome: Outcome) -> None:
        """Count a job that is done."""
        self._done[job.step] += 1
        seconds, cpu_s = outcome.elapsed_s, outcome.cpu_s
        self._work.done(kind_of(job), self._units.of(job), elapsed_s=seconds, ended_at=time.monotonic(), cpu_s=cpu_s)

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
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show_regularly(self) -> None:
        """Draw the line again, or print one when it is time to, until the run ends."""
        while not self._ended.wait(1 / REFRESHES_PER_S):
            self._announce_blocks()
            if self._bar:
                self._draw()
                continue
            silent_s = time.monotonic() - self._printed_at
            is_new = self._done.total() != self._n_printed
            if silent_s >= (LOG_INTERVAL_S if is_new else MAX_LOG_INTERVAL_S):
                self._print_state()

    def _draw(self) -> None:
        if self._bar:
            state = self._state(self._text_width)
            self._bar_column.bar_width = max(MIN_BAR, min(MAX_BAR, MIN_BAR + self._text_width - len(state)))
            self._bar.update(self._task, completed=self._share, description=state, refresh=True)

    def _print_state(self) -> None:
        self._printed_at, self._n_printed = time.monotonic(), self._done.total()
        state = self._state()
        self._print(f"{100 * self._share:3.0f} %  {state}")

    @property
    def _text_width(self) -> int:
        """Characters for the text of the line on a terminal."""
        return self._console.width - MIN_BAR - PERCENT_WIDTH - 1

    def _announce_blocks(self) -> None:
        """Print once for each step what a block costs, after the first one of a job that takes long."""
        for parts in self._parts().values():
            if parts.step in self._announced or parts.kind != "block" or parts.whole_s is None:
                continue
            self._announced.add(parts.step)
            if parts.remaining_s is not None and parts.remaining_s >= ANNOUNCED_S:
                self._print(block_cost_text(parts))

    def _estimate(self, parts: RunningParts, elapsed_s: float) -> Estimate:
        running = [(kind, one) for (kind, _), one in parts.items()]
        return self._work.estimate(running, elapsed_s=elapsed_s, now=time.monotonic())

    def _state(self, width: int | None = None) -> str:
        """Return the steps that have begun and not ended, or the number of jobs, with the times; updates the share.

        Args:
            width: most characters; None for any number.
        """
        total, done = self._total.copy(), self._done.copy()  # the driver adds jobs from another thread
        elapsed_s = time.monotonic() - self._started
        parts = self._parts()
        running, now = list(parts.values()), self._estimate(parts, elapsed_s)
        self._share = max(self._share, now.share)
        waiting = [step for step, n in total.items() if done[step] < n]
        parts_of = {parts.step: parts for parts in sorted(running, key=lambda parts: -parts.share) if parts.n > 1}
        begun = [step for step in waiting if done[step] or step in parts_of] or waiting[:1]
        left = f", about {format_duration(now.remaining_s)} left" if now.remaining_s is not None else ""
        times = f", {_clock(elapsed_s)}{left}"
        counts = [f"{step} {done[step]}/{total[step]}" for step in begun]
        if not counts:
            return f"{done.total()}/{total.total()} jobs{times}"
        details = [f" ({parts_of[step].describe()})" if step in parts_of else "" for step in begun]
        return fitting_text(counts, details, width=None if width is None else width - len(times)) + times


def block_cost_text(parts: JobParts) -> str:
    """Return what a block of a job costs, and how many remain."""
    block_s, n_left = (parts.whole_s or 0.0) / parts.n, parts.n - parts.n_done
    return (
        f"{parts.step}: a block takes {format_duration(block_s)}; "
        f"{n_left} more, about {format_duration(parts.remaining_s or 0.0)}"
    )


def fitting_text(counts: Sequence[str], details: Sequence[str], *, width: int | None) -> str:
    """Join the steps that have begun: with all details, those of the last one, none, or only some of the steps."""
    last_only = [*("" for _ in details[:-1]), details[-1]]
    texts = [", ".join(map("".join, zip(counts, some, strict=True))) for some in (details, last_only)]
    texts.append(", ".join(counts))
    texts += [f"{', '.join(counts[:n])} and {len(counts) - n} more" for n in range(len(counts) - 1, 0, -1)]
    return next((text for text in texts if width is None or len(text) <= width), texts[-1])


def _clock(seconds: float) -> str:
    """Format a time as minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _has_widgets(console: Console) -> bool:
    """Return whether this is a Jupyter notebook in which rich can update what it has printed."""
    return console.is_jupyter and find_spec("ipywidgets") is not None
