"""The files of one run: what was planned, how each job went, what failed, how it ended. `status.py` reads them.

The catalog's tables `jobs` and `failures` are folded from here. None of it is a result: a run whose files cannot be
written, on a full disk, goes on, and writes them as soon as there is room.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlprune.processes import this_process
from mlprune.steps.jobs import Job, batch_tokens_of
from mlprune.storage import Store
from ray_jobs.relief import IN_WORDS
from ray_jobs.worker import Failure, Outcome

logger = logging.getLogger(__name__)


class Journal:
    """Writes the files of a run.

    Args:
        store: where they go.
        run_id: names their folder.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._n_files = 0
        self._unwritten: list[tuple[str, dict[str, Any]]] = []
        self._has_said_full = False

    def planned(self, jobs: Iterable[Job]) -> None:
        """The jobs that are to be done, and the process that sees to it."""
        steps = dict(Counter(job.step for job in jobs))
        self._write("planned", {"jobs": steps, "process": this_process(), "planned_at": now()})

    def job(self, job: Job, outcome: Outcome, *, status: str, attempt: int) -> None:
        """How one try of a job went: done, lost (it is tried again) or failed."""
        row = {**self._named(outcome), **asdict(outcome), "status": status, "attempt": attempt}
        row["retries"] = attempt - 1
        del row["failure"], row["makes"]
        error = outcome.failure.error if outcome.failure else None
        conditions = {"batch_tokens": batch_tokens_of(job), "relief": IN_WORDS[job.relief], "error": error}
        self._write_next("job", {**row, **conditions})

    def failure(self, outcome: Outcome, failure: Failure, *, attempts: int) -> None:
        """A job that is not tried again in this run."""
        row = {**self._named(outcome), "step": outcome.step, "error": failure.error, "message": failure.message}
        self._write_next("failure", {**row, "attempts": attempts, "failed_at": now()})

    def elsewhere(self, job: Job) -> None:
        """A job that another run has done meanwhile."""
        kind, record_id = job.makes[-1]
        self._write_next("elsewhere", {"step": job.step, "record_kind": kind, "record_id": record_id})

    def ended(self, how: str, **counts: int) -> None:
        """The run is over: done, failed (some jobs did) or stopped (by an error or a signal)."""
        self._write("ended", {"how": how, "ended_at": now(), **counts})

    def _named(self, outcome: Outcome) -> dict[str, str]:
        kind, record_id = outcome.makes
        return {"run_id": self._run_id, "job_id": record_id, "record_kind": kind, "record_id": record_id}

    def _write_next(self, kind: str, row: dict[str, Any]) -> None:
        self._write(f"{kind}-{self._n_files}", row)
        self._n_files += 1

    def _write(self, name: str, row: dict[str, Any]) -> None:
        """Write this file, after those that could not be written before."""
        self._unwritten.append((name, row))
        try:
            while self._unwritten:
                self._store.write_run_file(self._run_id, *self._unwritten[0])
                self._unwritten.pop(0)
                self._has_said_full = False
        except OSError as err:
            if not self._has_said_full:
                logger.warning("files of this run cannot be written now: %s", err)
            self._has_said_full = True


def now() -> str:
    """The time as run files have it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
