"""The driver: runs the jobs of a plan on some workers, records what happened, and keeps the catalog up to date.

Where the workers are is behind the `Workers` protocol: in this process (`here.py`) or over Ray (`dispatch.py`). The
driver alone writes to the catalog. A job that fails for good takes the jobs that need it along; all others go on.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from catalog.store import Catalog
from mlprune.steps.jobs import Job, RecordKey
from mlprune.storage import Store
from ray_jobs.progress import Progress
from ray_jobs.worker import Failure, Outcome

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Times a job is tried when its failures are transient."""
FOLD_EVERY_S = 15.0


class Workers(Protocol):
    """Those who run jobs."""

    def free(self) -> int:
        """How many more jobs may be submitted now."""

    def submit(self, job: Job) -> None:
        """Start a job on a free worker."""

    def wait(self) -> list[tuple[Job, Outcome]]:
        """Wait until a job has ended; returns those that have, with how they went."""

    def close(self) -> None:
        """Let the workers go."""


@dataclass
class _State:
    """Where the run stands."""

    waiting: list[Job]
    done: set[RecordKey] = field(default_factory=set)
    lost: set[RecordKey] = field(default_factory=set)
    """Records that will not be made in this run."""
    attempts: dict[RecordKey, int] = field(default_factory=dict)
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    n_running: int = 0


@dataclass(frozen=True)
class RunResult:
    """What became of the jobs of a run."""

    n_done: int
    failed: tuple[tuple[Job, Failure], ...]
    n_skipped: int
    """Jobs that were not tried because one they need failed."""

    @property
    def saw_damage(self) -> bool:
        """Whether a job failed because an artefact turned out damaged: planning again repairs that."""
        return any(failure.is_damage for _, failure in self.failed)


class Driver:
    """One run.

    Args:
        store: where records go.
        run_id: names the run's files.
        workers: who runs the jobs.
        progress: told of every job.
    """

    def __init__(self, store: Store, run_id: str, *, workers: Workers, progress: Progress) -> None:
        self._store = store
        self._run_id = run_id
        self._workers = workers
        self._progress = progress
        self._n_files = 0
        self._folded_at = time.monotonic()

    def run(self, jobs: Iterable[Job], *, present: set[RecordKey]) -> RunResult:
        """Run all jobs, each after those it needs.

        Args:
            present: records that exist already.
        """
        state = _State(waiting=list(jobs), done=set(present))
        n_jobs = len(state.waiting)
        while state.waiting or state.n_running:
            self._submit_ready(state)
            if not state.n_running:
                break
            for job, outcome in self._workers.wait():
                state.n_running -= 1
                self._settle(state, job, outcome)
            self._fold_now_and_then()
        n_skipped = len(state.waiting)
        return RunResult(n_jobs - n_skipped - len(state.failed), tuple(state.failed), n_skipped)

    def _submit_ready(self, state: _State) -> None:
        """Give free workers the first jobs whose needs are there."""
        free = self._workers.free()
        position = 0
        while free and position < len(state.waiting):
            job = state.waiting[position]
            if all(key in state.done for key in job.needs):
                state.waiting.pop(position)
                self._workers.submit(job)
                state.n_running += 1
                free -= 1
            else:
                position += 1

    def _settle(self, state: _State, job: Job, outcome: Outcome) -> None:
        """Take note of an ended job: done, to be tried again, or failed."""
        key = job.makes[-1]
        attempt = state.attempts[key] = state.attempts.get(key, 0) + 1
        failure = outcome.failure
        again = failure is not None and failure.is_transient and attempt < MAX_ATTEMPTS
        status = "done" if failure is None else "lost" if again else "failed"
        self._write("job", {**_row(self._run_id, outcome), "status": status, "attempt": attempt})
        if failure is None:
            state.done.update(job.makes)
            self._progress.done(job, outcome)
        elif again:
            logger.warning("%s %s: %s (try %d of %d)", job.step, key[1], failure.message, attempt, MAX_ATTEMPTS)
            state.waiting.insert(0, job)
        else:
            state.failed.append((job, failure))
            self._write_failure(outcome, failure, attempt)
            self._progress.failed(job, failure)

    def _write_failure(self, outcome: Outcome, failure: Failure, attempts: int) -> None:
        row = {
            "run_id": self._run_id,
            "job_id": outcome.makes[1],
            "step": outcome.step,
            "record_kind": outcome.makes[0],
            "record_id": outcome.makes[1],
            "error": failure.error,
            "message": failure.message,
            "attempts": attempts,
            "failed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        self._write("failure", row)

    def _write(self, kind: str, row: dict[str, Any]) -> None:
        self._store.write_run_file(self._run_id, f"{kind}-{self._n_files}", row)
        self._n_files += 1

    def _fold_now_and_then(self) -> None:
        """Let readers see the records made so far; nothing is lost if that fails, the next fold catches up."""
        if time.monotonic() - self._folded_at < FOLD_EVERY_S:
            return
        with Catalog.open(self._store) as catalog:
            catalog.fold()
        self._folded_at = time.monotonic()


def _row(run_id: str, outcome: Outcome) -> dict[str, Any]:
    """The catalog row of a job, but for its status and attempt."""
    row = asdict(outcome)
    del row["failure"]
    kind, record_id = row.pop("makes")
    return {"run_id": run_id, "job_id": record_id, "record_kind": kind, "record_id": record_id, **row}
