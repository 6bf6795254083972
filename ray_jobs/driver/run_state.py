"""State of a run: the queue of jobs that wait, jobs that run or failed; what to retry; result and summary."""

import shlex
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from mlprune.capabilities.capability import all_capabilities
from mlprune.recipe.models import Recipe
from mlprune.steps.job import Job, RecordKey
from mlprune.vocabulary import TASK_TRAITS
from ray_jobs.workers.recovery import Failure

DONE, SOME_FAILED = 0, 3
"""Exit codes; 1 is an unexpected error, 2 bad input."""
MAX_ATTEMPTS = 3
"""Attempts of a job with transient failures; attempts that continue with less memory are not counted."""


class QueuedJob(NamedTuple):
    """A job with its position in the order of submission, which no other job has."""

    position: int
    job: Job


class JobQueue:
    """The jobs that wait, in the order of submission. A job is ready once all records that it needs exist.

    The work per job does not grow with the number of jobs: each job counts the records that it lacks, each missing
    record knows the jobs that lack it, and the ready jobs are in a heap for each size.

    Jobs are taken in passes. A pass goes through the ready jobs once, in order. A job that becomes ready after the
    pass has reached a later position is taken in the next pass.

    Args:
        jobs: in the order of submission.
        present: records that exist.
        size_of: the part of the workers' capacity that a job uses.
    """

    def __init__(
        self,
        jobs: Iterable[Job] = (),
        *,
        present: Iterable[RecordKey] = (),
        size_of: Callable[[Job], int] = lambda _: 1,
    ) -> None:
        self.present = set(present)
        self._size_of = size_of
        self._n_waiting = self._end = self._start = 0
        self._n_lacking: dict[int, int] = {}
        """Position of a job that is not ready -> number of records that it lacks."""
        self._lacking: dict[RecordKey, list[QueuedJob]] = defaultdict(list)
        """Missing record -> jobs that need it."""
        self._ready: dict[int, list[QueuedJob]] = defaultdict(list)
        """Size -> heap of the ready jobs."""
        self._due: dict[int, list[QueuedJob]] = defaultdict(list)
        """Size -> heap of the jobs that were set aside until a time that has come."""
        self._set_aside: deque[tuple[float, QueuedJob]] = deque()
        """The others that were set aside, with the time until which they are; the first one is due first."""
        self._for_next_pass: list[QueuedJob] = []
        """Ready jobs for the next pass."""
        self._reached = 0
        """Position that the pass has reached."""
        self.add(jobs)

    def __len__(self) -> int:
        """Return the number of jobs that wait, ready or not."""
        return self._n_waiting

    def add(self, jobs: Iterable[Job]) -> None:
        """Add jobs at the end."""
        for job in jobs:
            self._add(QueuedJob(self._end, job))
            self._end += 1

    def add_first(self, job: Job) -> None:
        """Add a job before all others."""
        self._start -= 1
        self._add(QueuedJob(self._start, job))

    def _add(self, queued: QueuedJob) -> None:
        self._n_waiting += 1
        lacking = {key for key in queued.job.needs if key not in self.present}
        for key in lacking:
            self._lacking[key].append(queued)
        if lacking:
            self._n_lacking[queued.position] = len(lacking)
        else:
            self._add_ready(queued)

    def _add_ready(self, queued: QueuedJob) -> None:
        if queued.position < self._reached:
            self._for_next_pass.append(queued)
        else:
            self._push(self._ready, queued)

    def _push(self, heaps: dict[int, list[QueuedJob]], queued: QueuedJob) -> None:
        heappush(heaps[self._size_of(queued.job)], queued)

    def mark_present(self, keys: Iterable[RecordKey]) -> None:
        """Note that records exist."""
        for key in keys:
            self.present.add(key)
            for queued in self._lacking.pop(key, ()):
                self._n_lacking[queued.position] -= 1
                if not self._n_lacking[queued.position]:
                    del self._n_lacking[queued.position]
                    self._add_ready(queued)

    def begin_pass(self, *, now: float) -> None:
        """Begin a pass at the first ready job; the jobs that were set aside until `now` are in it."""
        self._reached = self._start
        for queued in self._for_next_pass:
            self._push(self._ready, queued)
        self._for_next_pass.clear()
        while self._set_aside and self._set_aside[0][0] <= now:
            self._push(self._due, self._set_aside.popleft()[1])

    def take(self, capacity: int) -> QueuedJob | None:
        """Take the next ready job of the pass whose size is within a capacity; None if there is none."""
        heaps = [
            heap for group in (self._ready, self._due) for size, heap in group.items() if heap and size <= capacity
        ]
        if not heaps:
            return None
        queued = heappop(min(heaps, key=lambda heap: heap[0].position))
        self._n_waiting -= 1
        self._reached = queued.position
        return queued

    def set_aside(self, queued: QueuedJob, *, until: float) -> None:
        """Put a job back, which is not taken again before a time. Times must not decrease from call to call."""
        self._n_waiting += 1
        self._set_aside.append((until, queued))

    @property
    def aside(self) -> list[Job]:
        """The jobs that were set aside and not taken again since."""
        due = (queued for heap in self._due.values() for queued in heap)
        return [queued.job for queued in (*due, *(queued for _, queued in self._set_aside))]

    @property
    def n_ready(self) -> int:
        """Number of ready jobs, without those that were set aside."""
        return sum(map(len, self._ready.values())) + len(self._for_next_pass)


@dataclass
class RunState:
    """Mutable state of a run."""

    queue: JobQueue = field(default_factory=JobQueue)
    """Jobs that wait. Those that another run has claimed are set aside."""
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    running: dict[RecordKey, Job] = field(default_factory=dict)
    """Jobs that workers run; the key is the last record that a job makes."""
    n_attempts: Counter[RecordKey] = field(default_factory=Counter)
    n_transient_failures: Counter[RecordKey] = field(default_factory=Counter)
    """Transient failures per job, except those that continue with less memory."""
    replaced: frozenset[RecordKey] = frozenset()
    """Records that exist until this run, or another one, replaces them."""
    claimed_elsewhere: set[RecordKey] = field(default_factory=set)
    """Jobs that another run had claimed at some time."""
    n_elsewhere: int = 0
    """Jobs that another run has done."""
    n_jobs: int = 0
    """All jobs of the run, also those that were added."""

    def __post_init__(self) -> None:
        """Count the jobs that wait at the start."""
        self.n_jobs = self.n_jobs or len(self.queue)

    def add(self, jobs: Sequence[Job]) -> None:
        """Add jobs to those that wait."""
        self.queue.add(jobs)
        self.n_jobs += len(jobs)

    def shareable(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those of some jobs that idle workers may share; none if a further job is ready for them.

        One worker alone runs the last attempt of a job.
        """
        if self.queue.n_ready:
            return []
        return [job for job in jobs if job.shares_replicas and self._n_failures(job) < MAX_ATTEMPTS - 1]

    def _n_failures(self, job: Job) -> int:
        return self.n_transient_failures[job.makes[-1]]

    def note_submitted(self, job: Job) -> None:
        """Note that a job was given to a worker."""
        self.running[job.makes[-1]] = job

    def next_attempt(self, job: Job, failure: Failure) -> Job | None:
        """Return what to try after a failure: the job with less memory, the same job, or None.

        A worker that cannot load the model returns its job, which is not to blame. If there is too little memory for
        the model, smaller batches do not help.
        """
        if failure.worker_fault and failure.at_load:
            return job
        less = job.with_more_offloaded() if failure.at_load else job.with_less_memory()
        if failure.is_memory and (job.saves_memory or less):
            return less
        key = job.makes[-1]
        self.n_transient_failures[key] += 1
        return job if failure.is_transient and self.n_transient_failures[key] < MAX_ATTEMPTS else None


@dataclass(frozen=True)
class RunResult:
    """Counts and failures of a run."""

    n_done: int
    failed: tuple[tuple[Job, Failure], ...]
    n_skipped: int
    """Jobs that were not tried because a job they need failed, or because no worker was left."""
    n_elsewhere: int = 0
    """Done jobs that another run did in the meantime."""
    problem: str | None = None
    """Why the run ended before all jobs were tried: no worker was left."""

    @property
    def is_complete(self) -> bool:
        """Whether all jobs were tried and none failed."""
        return not self.failed and self.problem is None

    @property
    def found_damage(self) -> bool:
        """Whether a job failed because an artefact is damaged; planning again repairs that."""
        return any(failure.is_damage for _, failure in self.failed)


@dataclass(frozen=True)
class RunSummary:
    """Exit code and counts of a run."""

    exit_code: int
    n_done: int
    n_failed: int
    n_skipped: int
    n_elsewhere: int = 0
    """Done jobs that another run in the same store did in the meantime."""
    next_commands: tuple[str, ...] = ()
    """Commands that show the results."""
    problem: str | None = None
    """Why the run ended before all jobs were tried; None if all were."""
    recipe: str = ""
    """Name of the recipe."""
    variants: tuple[str, ...] = ()
    """Ids of its variants."""

    @property
    def did_nothing(self) -> bool:
        """Whether everything was done before."""
        return self.n_done + self.n_failed + self.n_skipped == 0


def summarise(result: RunResult, commands: tuple[str, ...]) -> RunSummary:
    """Return the summary of a run.

    Args:
        commands: show the results, once all jobs are done.
    """
    return RunSummary(
        DONE if result.is_complete else SOME_FAILED,
        result.n_done,
        len(result.failed),
        result.n_skipped,
        result.n_elsewhere,
        next_commands=commands if result.is_complete else (),
        problem=result.problem,
    )


def next_commands(recipe: Recipe, store_uri: str) -> tuple[str, ...]:
    """Return the commands to try after a run: a query that has rows for this recipe, and the report."""
    without_accuracy = {task for task, traits in TASK_TRAITS.items() if traits.reads != "candidates"}
    splits = {evaluation.split for evaluation in recipe.evaluations if evaluation.task not in without_accuracy}
    of_capabilities = (capability.query(recipe) for capability in all_capabilities())
    by_default = (
        "best_by_language" if {"dev", "test"} <= splits else "values_by_variant" if recipe.evaluations else "runs"
    )
    query = next(filter(None, of_capabilities), by_default)
    store = shlex.quote(store_uri)
    return f"mlprune query {query} --store {store}", f"mlprune report --store {store} --out report.html"


def format_summary(summary: RunSummary, *, store_uri: str) -> str:
    """Return the counts of a run and, unless all jobs are done, what to do next."""
    text = f"{summary.n_done} jobs done"
    if summary.n_elsewhere:
        text += f" ({summary.n_elsewhere} of them by another run in this store)"
    if summary.problem:
        text += f", {summary.n_failed} failed and {summary.n_skipped} remain to be done; {summary.problem}; "
        return text + "run the same command again when the machines can be used"
    if summary.n_failed:
        text += f", {summary.n_failed} failed and {summary.n_skipped} that need them were skipped: "
        text += f"see the causes with mlprune query failures --store {store_uri}, "
        text += "correct them, then run the same command again"
    return text
