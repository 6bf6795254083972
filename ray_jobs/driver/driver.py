"""The driver: runs the jobs of a plan on some workers, records what happened, and keeps the catalog up to date.

Where the workers are is behind the `Workers` protocol: in this process (`here.py`) or over Ray (`dispatch.py`). The
driver alone writes to the catalog. A job that fails for good takes the jobs that need it along; all others go on.

Another driver may be at work in the same store. A job is claimed before it is submitted; one that somebody else has
claimed is put aside and looked at again, until its records are there or its claim turns out to stand for nobody.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mlprune.steps.job import Job, RecordKey
from mlprune.store.claims import Claims
from mlprune.store.store import Store
from mlprune.timestamps import timestamp
from ray_jobs.driver.catalog_sync import CatalogSync
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_log import RunLog
from ray_jobs.workers.out_of_memory import MEMORY_LEVELS, advice
from ray_jobs.workers.worker import Failure, Outcome

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Times a job is tried when its failures may pass; on top of it come those with less memory, see `relief.py`."""
LOOK_AGAIN_S = 1.0
"""How often a job that another run does is looked at."""


class Workers(Protocol):
    """Those who run jobs."""

    def free(self) -> int:
        """How many more jobs may be submitted now."""

    def submit(self, job: Job) -> None:
        """Start a job on a free worker."""

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Wait until a job has ended, or for so long; returns those that have, with how they went."""

    def close(self) -> None:
        """Let the workers go."""


@dataclass
class _State:
    """Where the run stands."""

    waiting: list[Job]
    done: set[RecordKey] = field(default_factory=set)
    attempts: dict[RecordKey, int] = field(default_factory=dict)
    losses: dict[RecordKey, int] = field(default_factory=dict)
    """Attempts that ended in a failure that may pass; those that were given less memory next are not counted."""
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    n_running: int = 0
    elsewhere: dict[RecordKey, float] = field(default_factory=dict)
    """Jobs that another run does, and when to look at them again."""
    n_elsewhere: int = 0
    """Jobs that another run has done."""


@dataclass(frozen=True)
class RunResult:
    """What became of the jobs of a run."""

    n_done: int
    failed: tuple[tuple[Job, Failure], ...]
    n_skipped: int
    """Jobs that were not tried because one they need failed."""
    n_elsewhere: int = 0
    """Those of the done jobs that another run did meanwhile."""

    @property
    def saw_damage(self) -> bool:
        """Whether a job failed because an artefact turned out damaged: planning again repairs that."""
        return any(failure.is_damage for _, failure in self.failed)


class Driver:
    """One run.

    Args:
        store: where records go.
        run_id: the run.
        round_: which time it was planned, from 0.
        workers: who runs the jobs.
        progress: told of every job.
        claims: keep other runs in this store from doing the same jobs; None if there cannot be any.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        workers: Workers,
        progress: Progress,
        claims: Claims | None = None,
        round_: int = 0,
    ) -> None:
        self._store = store
        self._journal = RunLog(store, run_id, round_=round_)
        self._workers = workers
        self._progress = progress
        self._claims = claims
        self._has_said_wait = False
        self._folds = CatalogSync(store)

    def run(self, jobs: Iterable[Job], *, present: set[RecordKey]) -> RunResult:
        """Run all jobs, each after those it needs.

        Args:
            present: records that exist already.
        """
        state = _State(waiting=list(jobs), done=set(present))
        n_jobs = len(state.waiting)
        self._journal.planned(state.waiting)
        result: RunResult | None = None
        try:
            self._run(state)
            n_done = n_jobs - len(state.waiting) - len(state.failed)
            result = RunResult(n_done, tuple(state.failed), len(state.waiting), state.n_elsewhere)
        finally:
            self._journal.ended(**_how(result))
        return result

    def _run(self, state: _State) -> None:
        """Submit and collect until nothing more can be done."""
        while state.waiting or state.n_running:
            n_waiting = len(state.waiting)
            self._submit_ready(state)
            if state.n_running:
                self._collect(state)
            elif state.elsewhere:
                self._say_wait(state)
                time.sleep(LOOK_AGAIN_S)
            elif len(state.waiting) == n_waiting:
                break
            self._folds.maybe_fold()

    def _submit_ready(self, state: _State) -> None:
        """Give free workers the first jobs whose needs are there and that nobody else does."""
        free = self._workers.free()
        position = 0
        while free and position < len(state.waiting):
            job = state.waiting[position]
            if not all(key in state.done for key in job.needs) or self._is_elsewhere(state, job):
                position += 1
                continue
            state.waiting.pop(position)
            if self._is_made(state, job):
                self._settle_elsewhere(state, job)
                continue
            self._workers.submit(job)
            state.n_running += 1
            free -= 1

    def _is_elsewhere(self, state: _State, job: Job) -> bool:
        """Whether another run does the job now; if not, it is claimed."""
        key = job.makes[-1]
        if self._claims is None:
            return False
        if time.monotonic() < state.elsewhere.get(key, 0.0):
            return True
        if self._claims.take(key) or (key in state.elsewhere and self._is_made(state, job)):
            state.elsewhere.pop(key, None)
            return False
        state.elsewhere[key] = time.monotonic() + LOOK_AGAIN_S
        return True

    def _is_made(self, state: _State, job: Job) -> bool:
        """Whether another run has made the job's records since we planned, which moved away those that do not count."""
        if self._claims is None or not self._claims.has_company or job.makes[-1] in state.attempts:
            return False
        return all(self._store.has_record(*key) for key in reversed(job.makes))

    def _settle_elsewhere(self, state: _State, job: Job) -> None:
        """Take note of a job that another run has done; its own files tell how."""
        self._release(job)
        state.done.update(job.makes)
        state.n_elsewhere += 1
        self._journal.elsewhere(job)
        self._progress.done(job, Outcome(job.makes[-1], job.step, "", "another run", timestamp(), 0.0, 0.0))

    def _release(self, job: Job) -> None:
        if self._claims is not None:
            self._claims.release(job.makes[-1])

    def _say_wait(self, state: _State) -> None:
        """Say once that there is nothing to do here but to wait."""
        if self._claims is not None and not self._has_said_wait:
            owners = ", ".join(sorted({self._claims.owner_of(key) for key in state.elsewhere}))
            logger.warning("waiting for %d jobs that %s does in the same store", len(state.elsewhere), owners)
            self._has_said_wait = True

    def _collect(self, state: _State) -> None:
        """Settle what has ended; with workers idle, look up now and then to see what others have done."""
        look_up = bool(state.elsewhere) and self._workers.free() > 0
        for job, outcome in self._workers.wait(timeout_s=LOOK_AGAIN_S) if look_up else self._workers.wait():
            state.n_running -= 1
            self._settle(state, job, outcome)

    def _settle(self, state: _State, job: Job, outcome: Outcome) -> None:
        """Take note of an ended job: done, to be tried again, or failed."""
        key = job.makes[-1]
        attempt = state.attempts[key] = state.attempts.get(key, 0) + 1
        failure = outcome.failure
        again = _next_try(state, job, failure) if failure else None
        status = "done" if failure is None else "lost" if again else "failed"
        self._journal.job(job, outcome, status=status, attempt=attempt)
        if again is None:
            self._release(job)
        if failure is None:
            state.done.update(job.makes)
            self._progress.done(job, outcome)
        elif again:
            how = f", now {MEMORY_LEVELS[again.memory_level]}" if again.memory_level else ""
            logger.warning("%s %s: %s (try %d; once more%s)", job.step, key[1], failure.message, attempt, how)
            state.waiting.insert(0, again)
        else:
            if failure.is_memory:
                failure = replace(failure, message=f"{failure.message}; {advice(job)}")
            state.failed.append((job, failure))
            self._journal.failure(outcome, failure, attempts=attempt)
            self._progress.failed(job, failure)


def _next_try(state: _State, job: Job, failure: Failure) -> Job | None:
    """What to try next of a job that failed: with less memory, as before, or nothing."""
    if failure.is_memory and (job.memory_level or job.with_less_memory()):
        return job.with_less_memory()
    losses = state.losses[job.makes[-1]] = state.losses.get(job.makes[-1], 0) + 1
    return job if failure.is_transient and losses < MAX_ATTEMPTS else None


def _how(result: RunResult | None) -> dict[str, Any]:
    """How a run ended; None: an error or a signal put an end to it."""
    if result is None:
        return {"how": "stopped"}
    counts = {"n_done": result.n_done, "n_skipped": result.n_skipped, "n_elsewhere": result.n_elsewhere}
    return {"how": "failed" if result.failed else "done", "n_failed": len(result.failed), **counts}
