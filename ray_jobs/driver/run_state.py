"""State of a run: jobs that wait, are done, failed, or belong to another run; what to retry; result and summary."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mlprune.recipe import Recipe
from mlprune.steps.job import Job, RecordKey
from mlprune.vocabulary import TASK_TRAITS
from ray_jobs.workers.recovery.failures import Failure

DONE, SOME_FAILED = 0, 3
"""Exit codes; 1 is an unexpected error, 2 bad input."""
MAX_ATTEMPTS = 3
"""Attempts of a job with transient failures; attempts that continue with less memory are not counted."""


@dataclass
class RunState:
    """Mutable state of a run."""

    waiting: list[Job]
    done: set[RecordKey] = field(default_factory=set)
    """Records that exist."""
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    running: dict[RecordKey, Job] = field(default_factory=dict)
    """Jobs that workers run; the key is the last record that a job makes."""
    n_attempts: Counter[RecordKey] = field(default_factory=Counter)
    n_transient_failures: Counter[RecordKey] = field(default_factory=Counter)
    """Transient failures per job, except those that continue with less memory."""
    check_claim_at: dict[RecordKey, float] = field(default_factory=dict)
    """Job claimed by another run -> when to check its claim again, on the monotonic clock."""
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
        self.n_jobs = self.n_jobs or len(self.waiting)

    def add(self, jobs: Sequence[Job]) -> None:
        """Add jobs to those that wait."""
        self.waiting.extend(jobs)
        self.n_jobs += len(jobs)

    def is_ready(self, job: Job) -> bool:
        """Return whether all records that a job needs exist."""
        return all(key in self.done for key in job.needs)

    def n_ready(self) -> int:
        """Return how many waiting jobs could run now if there were workers for them."""
        return sum(self.is_ready(job) and job.makes[-1] not in self.check_claim_at for job in self.waiting)

    def shareable(self, jobs: Iterable[Job]) -> list[Job]:
        """Return those of some jobs that idle workers may share; none if a further job is ready for them.

        One worker alone runs the last attempt of a job.
        """
        if self.n_ready():
            return []
        return [job for job in jobs if job.shares_replicas and self._n_failures(job) < MAX_ATTEMPTS - 1]

    def _n_failures(self, job: Job) -> int:
        return self.n_transient_failures[job.makes[-1]]

    def note_submitted(self, job: Job) -> None:
        """Note that a job was given to a worker."""
        self.running[job.makes[-1]] = job

    def note_claimed_elsewhere(self, key: RecordKey, *, check_at: float) -> None:
        """Note that another run has claimed a job, and when to check its claim again."""
        self.check_claim_at[key] = check_at
        self.claimed_elsewhere.add(key)

    def mark_done(self, keys: Iterable[RecordKey]) -> None:
        """Note that records exist."""
        self.done.update(keys)

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
    without_accuracy = {task for task, traits in TASK_TRAITS.items() if traits.reads_parallel_text}
    splits = {evaluation.split for evaluation in recipe.evaluations if evaluation.task not in without_accuracy}
    query = "best_by_language" if {"dev", "test"} <= splits else "values_by_variant" if recipe.evaluations else "runs"
    if recipe.searches:
        query = "search_final"
    elif recipe.sensitivity and not recipe.variants:
        query = "sensitive_units"
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
