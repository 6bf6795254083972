"""State of a run: jobs that wait, are done, failed, or belong to another run; and what to retry."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlprune.steps.job import Job, RecordKey
from ray_jobs.workers.recovery.failures import Failure

MAX_ATTEMPTS = 3
"""Attempts of a job with transient failures; attempts that continue with less memory are not counted."""


@dataclass
class RunState:
    """Mutable state of a run."""

    waiting: list[Job]
    done: set[RecordKey] = field(default_factory=set)
    """Records that exist."""
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    n_running: int = 0
    n_attempts: Counter[RecordKey] = field(default_factory=Counter)
    n_transient_failures: Counter[RecordKey] = field(default_factory=Counter)
    """Transient failures per job, except those that continue with less memory."""
    check_claim_at: dict[RecordKey, float] = field(default_factory=dict)
    """Job claimed by another run -> when to check its claim again, on the monotonic clock."""
    n_elsewhere: int = 0
    """Jobs that another run has done."""

    def is_ready(self, job: Job) -> bool:
        """Return whether all records that a job needs exist."""
        return all(key in self.done for key in job.needs)

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
    def found_damage(self) -> bool:
        """Whether a job failed because an artefact is damaged; planning again repairs that."""
        return any(failure.is_damage for _, failure in self.failed)
