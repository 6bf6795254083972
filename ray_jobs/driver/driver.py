"""The driver: runs the jobs of a plan on workers, logs what happens, and updates the catalog.

Only the driver writes to the catalog. If a job fails for good, the jobs that need its records are skipped and all
others continue.

Other runs may use the same store. A job is claimed before it is submitted. A job that another run has claimed is set
aside and checked again until its records exist or its claim is stale.
"""

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from catalog.store import Catalog
from mlprune.planning.pending import is_made
from mlprune.steps.job import Job, RecordKey
from mlprune.store.claims import Claims
from mlprune.store.run_log_entries import SearchState
from mlprune.store.run_status import with_labels
from mlprune.store.store import Store
from mlprune.timestamps import timestamp
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_log import RunLog
from ray_jobs.driver.run_state import JobQueue, RunResult, RunState
from ray_jobs.workers.pool_interface import Workers
from ray_jobs.workers.recovery import Failure, advice, is_out_of_memory, memory_level
from ray_jobs.workers.worker import Outcome

logger = logging.getLogger(__name__)

FOLD_INTERVAL_S = 15.0
"""Shortest time between two folds."""
MAX_FOLD_SHARE = 0.05
"""Largest share of the driver's time for folds: in a large store, even one that finds little takes seconds."""
MAX_FOLD_INTERVAL_S = 240.0
"""Longest time between two folds while another process locks the catalog; each fold waits for the lock and logs it."""
POLL_INTERVAL_S = 1.0
"""Time between two checks of a job that another run has claimed."""


class RunPlan(Protocol):
    """What the driver asks the plan of a run."""

    def next_jobs(self, job: Job) -> Sequence[Job]:
        """Return the jobs that the result of a finished job makes possible, such as the next batch of a search."""

    def label_of(self, variant_id: str) -> str | None:
        """Return the label of a variant, for the texts of claims; None for another id."""

    @property
    def search_states(self) -> tuple[SearchState, ...]:
        """How far the searches are, for `mlprune status`."""


class FixedPlan:
    """A plan that no result changes, without searches and labels."""

    search_states: tuple[SearchState, ...] = ()

    def next_jobs(self, job: Job) -> Sequence[Job]:
        """See `RunPlan.next_jobs`."""
        return ()

    def label_of(self, variant_id: str) -> str | None:
        """See `RunPlan.label_of`."""
        return None


class CatalogSync:
    """Folds new records into the catalog from time to time, so that queries see them during the run.

    The next fold makes up for a fold that failed. The catalog of an object store is only folded at the end of the run,
    because each fold would list all records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._interval_s = FOLD_INTERVAL_S
        self._folded_at = time.monotonic()

    def maybe_fold(self) -> None:
        """Fold if it is time to. The interval doubles while another process locks the catalog, and follows the time
        that a fold takes."""
        if self._store.local_root is None or time.monotonic() - self._folded_at < self._interval_s:
            return
        began_at = time.monotonic()
        is_folded = fold(self._store)
        self._folded_at = time.monotonic()
        least_s = max(FOLD_INTERVAL_S, (self._folded_at - began_at) * (1 / MAX_FOLD_SHARE - 1))
        self._interval_s = least_s if is_folded else min(2 * self._interval_s, MAX_FOLD_INTERVAL_S)


def fold(store: Store, *, publish: bool = False) -> bool:
    """Fold new records into the catalog. If the catalog is locked or memory is short, the next command does it.

    Args:
        publish: also upload the catalog of an object store.
    Returns: whether the catalog file, or the uploaded catalog of an object store, is up to date.
    """
    try:
        with Catalog.open(store) as catalog:
            if publish and catalog.shared is not None:
                return catalog.publish()
            return catalog.fold().persisted
    except Exception as err:
        if not is_out_of_memory(err):
            raise
        logger.warning("not enough memory to update the catalog: the next command or query updates it")
        return False


class Driver:
    """Runs the jobs of one run.

    Args:
        log: of the run, or of one of its rounds.
        claims: prevent other runs in this store from doing the same jobs; None for a run that is alone.
        plan: the jobs that follow from a result join the run; None if none do.
    """

    def __init__(
        self,
        store: Store,
        log: RunLog,
        *,
        workers: Workers,
        progress: Progress,
        claims: Claims | None = None,
        plan: RunPlan | None = None,
    ) -> None:
        self._store = store
        self._log = log
        self._workers = workers
        self._progress = progress
        self._claims = claims
        self._plan: RunPlan = plan or FixedPlan()
        self._has_logged_wait = False
        self._catalog = CatalogSync(store)

    def run(self, jobs: Iterable[Job], *, present: set[RecordKey], replaced: Collection[RecordKey] = ()) -> RunResult:
        """Run all jobs, each after the jobs it needs.

        Args:
            present: records that already exist and stay.
            replaced: records that exist until they are replaced, because their files were retired.
        """
        jobs = list(jobs)
        queue = JobQueue(jobs, present=present, size_of=self._workers.size)
        state = RunState(queue, replaced=frozenset(replaced))
        self._log.start(jobs)
        self._log.log_searches(self._plan.search_states)
        result: RunResult | None = None
        try:
            self._run(state)
            n_done = state.n_jobs - len(queue) - len(state.failed)
            problem = self._workers.problem if queue else None
            result = RunResult(n_done, tuple(state.failed), len(queue), state.n_elsewhere, problem)
        finally:
            self._log_end(result)
        return result

    def _run(self, state: RunState) -> None:
        """Submit and collect jobs until none can be run any more."""
        while state.queue or state.running:
            n_waiting = len(state.queue)
            self._submit_ready(state)
            self._log.note_load(n_waiting=len(state.queue), n_running=len(state.running))
            if state.running:
                self._collect(state)
            elif self._workers.problem:
                break
            elif state.queue.aside:
                self._log_wait(state.queue.aside)
                time.sleep(POLL_INTERVAL_S)
            elif len(state.queue) == n_waiting:
                break
            self._catalog.maybe_fold()

    def _submit_ready(self, state: RunState) -> None:
        """Submit ready, unclaimed jobs to free workers, in order. Workers without a job share those that allow it."""
        jobs = self._take_ready(state, self._workers.free())
        for change in self._workers.take_changes():
            self._log.log_pool_change(change)
        shareable = state.shareable(jobs)
        n_spare = self._workers.spare(len(jobs)) if shareable else 0
        n_helpers = {job.makes[-1]: len(range(n, n_spare, len(shareable))) for n, job in enumerate(shareable)}
        for job in jobs:
            state.note_submitted(job)
            self._workers.submit(job, n_helpers=n_helpers.get(job.makes[-1], 0))
        if n_ready := state.queue.n_ready:
            self._workers.recall(n_ready)
        else:
            self._workers.share(state.shareable(state.running.values()))

    def _take_ready(self, state: RunState, n_free: int) -> list[Job]:
        """Take jobs that can be submitted, in order.

        Args:
            n_free: the free capacity.
        """
        jobs: list[Job] = []
        state.queue.begin_pass(now=time.monotonic())
        while n_free and (queued := state.queue.take(n_free)) is not None:
            job = queued.job
            if self._is_claimed_elsewhere(state, job):
                state.claimed_elsewhere.add(job.makes[-1])
                state.queue.set_aside(queued, until=time.monotonic() + POLL_INTERVAL_S)
            elif self._is_done_elsewhere(state, job):
                self._settle_elsewhere(state, job)
            else:
                jobs.append(job)
                n_free -= self._workers.size(job)
        return jobs

    def _is_claimed_elsewhere(self, state: RunState, job: Job) -> bool:
        """Return whether another run has claimed the job and not done it; if no run has, claim it."""
        key = job.makes[-1]
        if self._claims is None or self._claims.take(key, work=_claim_text(job, self._plan)):
            return False
        return key not in state.claimed_elsewhere or not self._is_done_elsewhere(state, job)

    def _is_done_elsewhere(self, state: RunState, job: Job) -> bool:
        """Return whether another run has made the job's records since the plan; the plan removed invalid records."""
        key = job.makes[-1]
        if self._claims is None or not self._claims.may_have_peers or key in state.n_attempts:
            return False
        if state.replaced.issuperset(job.makes):
            return key in state.claimed_elsewhere and all(is_made(self._store, made) for made in job.makes)
        return all(self._store.has_record(*made) for made in reversed(job.makes))

    def _settle_elsewhere(self, state: RunState, job: Job) -> None:
        """Record a job that another run has done; the log of that run has its details."""
        self._release(job)
        state.queue.mark_present(job.makes)
        state.n_elsewhere += 1
        self._log.log_done_elsewhere(job)
        self._progress.done(job, Outcome(job.makes[-1], job.step, "", "another run", timestamp(), 0.0, 0.0))
        self._add_next(state, job)

    def _release(self, job: Job) -> None:
        if self._claims is not None:
            self._claims.release(job.makes[-1])

    def _log_wait(self, jobs: Sequence[Job]) -> None:
        """Log once that this run can only wait for other runs, which have claimed some jobs."""
        if self._claims is not None and not self._has_logged_wait:
            owners = ", ".join(sorted({self._claims.owner_of(job.makes[-1]) for job in jobs}))
            logger.warning("waiting for %d jobs of other runs in this store: %s", len(jobs), owners)
            self._has_logged_wait = True

    def _collect(self, state: RunState) -> None:
        """Settle finished jobs. Idle workers may get jobs of other runs, so claims are then checked regularly."""
        can_take_over = bool(state.queue.aside) and self._workers.free() > 0
        for job, outcome in self._workers.wait(timeout_s=POLL_INTERVAL_S) if can_take_over else self._workers.wait():
            del state.running[job.makes[-1]]
            self._settle(state, job, outcome)

    def _settle(self, state: RunState, job: Job, outcome: Outcome) -> None:
        """Record a finished attempt: the job is done, is retried or has failed."""
        key, failure = job.makes[-1], outcome.failure
        state.n_attempts[key] += 1
        attempt = state.n_attempts[key]
        if failure is None:
            self._log.log_attempt(job, outcome, status="done", attempt=attempt)
            self._release(job)
            state.queue.mark_present(job.makes)
            self._progress.done(job, outcome)
            self._add_next(state, job)
        elif (retry := state.next_attempt(job, failure)) is not None:
            self._log.log_attempt(job, outcome, status="lost", attempt=attempt, retry=retry)
            level = f", {memory_level(retry)}" if retry.saves_memory else ""
            logger.warning("%s %s: %s (attempt %d; retrying%s)", job.step, key[1], failure.message, attempt, level)
            state.queue.add_first(retry)
        else:
            self._log.log_attempt(job, outcome, status="failed", attempt=attempt)
            self._release(job)
            self._fail(state, job, outcome, failure=failure)

    def _add_next(self, state: RunState, job: Job) -> None:
        """Add the jobs that a finished job makes possible. Another run may have made some of the records they need."""
        jobs = self._plan.next_jobs(job)
        self._log.log_searches(self._plan.search_states)
        if jobs:
            needs = dict.fromkeys(key for each in jobs for key in each.needs if key not in state.queue.present)
            state.queue.mark_present(key for key in needs if self._store.has_record(*key))
            state.add(jobs)
            self._progress.add(jobs)
            self._log.plan_more(jobs)

    def _fail(self, state: RunState, job: Job, outcome: Outcome, *, failure: Failure) -> None:
        """Record a job that is not retried."""
        if failure.is_memory:
            failure = replace(failure, message=f"{failure.message}; {advice(job)}")
        state.failed.append((job, failure))
        self._log.log_failure(outcome, failure, attempts=state.n_attempts[job.makes[-1]])
        self._progress.failed(job, failure)

    def _log_end(self, result: RunResult | None) -> None:
        """Log the end of the run; None means that an error or a signal ended it."""
        if result is None:
            self._log.end("stopped")
            return
        self._log.end(
            "done" if result.is_complete else "failed",
            n_failed=len(result.failed),
            n_done=result.n_done,
            n_skipped=result.n_skipped,
            n_elsewhere=result.n_elsewhere,
        )


def _claim_text(job: Job, plan: RunPlan) -> str:
    """Return what a job does, in at most 160 characters: the end, which names the variant, is kept."""
    text = with_labels(f"{job.step} {job.work}", plan.label_of)
    return text if len(text) <= 160 else f"{text[:97]} … {text[-60:]}"
