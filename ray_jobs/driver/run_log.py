"""The files of one run: what was planned, how each job went, what failed, how it ended. `status.py` reads them.

The catalog's tables of runs are folded from here. None of it is a result: a run whose files cannot be written, on a
full disk, goes on, and writes them as soon as there is room.
"""

import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from mlprune.steps.job import Job, batch_tokens_of
from mlprune.store.process_identity import this_process
from mlprune.store.run_log_files import write_pack
from mlprune.store.store import Store
from mlprune.timestamps import timestamp
from ray_jobs.process.environment import Environment, environment_file, this_environment
from ray_jobs.workers.out_of_memory import MEMORY_LEVELS
from ray_jobs.workers.worker import Failure, Outcome

logger = logging.getLogger(__name__)

PACK_AT = 1_000
"""Files of jobs that become one: a run of a million jobs leaves a thousand files and not a million."""


class RunLog:
    """Writes the files of a run.

    Args:
        store: where they go.
        run_id: the run.
        round_: which time the run was planned, from 0: each has a folder of its own.
    """

    def __init__(self, store: Store, run_id: str, *, round_: int = 0) -> None:
        self._store = store
        self._run_id = run_id
        self._folder = f"{run_id}-{round_}" if round_ else run_id
        self._told: set[str] = set()
        self._n_files = 0
        self._numbered: list[tuple[str, dict[str, Any]]] = []
        """Written files with numbers that are not packed yet."""
        self._unwritten: list[tuple[str, dict[str, Any]]] = []
        self._has_said_full = False

    def planned(self, jobs: Iterable[Job]) -> None:
        """The jobs that are to be done, and the process that sees to it."""
        steps = dict(Counter(job.step for job in jobs))
        self._write("planned", {"jobs": steps, "process": this_process(), "planned_at": timestamp()})

    def job(self, job: Job, outcome: Outcome, *, status: str, attempt: int) -> None:
        """How one try of a job went: done, lost (it is tried again) or failed."""
        error = outcome.failure.error if outcome.failure else None
        conditions = {"batch_tokens": batch_tokens_of(job), "relief": MEMORY_LEVELS[job.memory_level], "error": error}
        makes = {"makes": [list(key) for key in job.makes]}
        self._try(outcome, {"status": status, "attempt": attempt, "retries": attempt - 1, **conditions, **makes})

    def made(self, outcome: Outcome) -> None:
        """A record that was made without a job of a plan."""
        self._try(outcome, {"status": "done", "attempt": 1, "retries": 0})

    def _try(self, outcome: Outcome, more: dict[str, Any]) -> None:
        environment_id = self._environment_id(outcome.environment)
        told = asdict(replace(outcome, environment=None))
        del told["failure"], told["makes"], told["environment"]
        self._write_next("job", {**self._named(outcome), **told, "environment_id": environment_id, **more})

    def failure(self, outcome: Outcome, failure: Failure, *, attempts: int) -> None:
        """A job that is not tried again in this run."""
        row = {**self._named(outcome), "step": outcome.step, "error": failure.error, "message": failure.message}
        self._write_next("failure", {**row, "attempts": attempts, "failed_at": timestamp()})

    def elsewhere(self, job: Job) -> None:
        """A job that another run has done meanwhile."""
        kind, record_id = job.makes[-1]
        self._write_next("elsewhere", {"step": job.step, "record_kind": kind, "record_id": record_id})

    def ended(self, how: str, **counts: int) -> None:
        """The run is over: done, failed (some jobs did) or stopped (by an error or a signal)."""
        self._write("ended", {"how": how, "ended_at": timestamp(), **counts})

    def _environment_id(self, environment: Environment | None) -> str | None:
        """The id of an environment, which is written down once; None while it cannot be."""
        if environment is None:
            return None
        environment_id = environment.id  # a hash over all packages: found once a job
        if environment_id not in self._told and not _tell(self._store, self._folder, environment):
            return None
        self._told.add(environment_id)
        return environment_id

    def _named(self, outcome: Outcome) -> dict[str, str]:
        kind, record_id = outcome.makes
        return {"run_id": self._run_id, "job_id": record_id, "record_kind": kind, "record_id": record_id}

    def _write_next(self, kind: str, row: dict[str, Any]) -> None:
        """Write a file of the next number; when there are many, one takes the place of all."""
        name = f"{kind}-{self._n_files}"
        self._n_files += 1
        self._numbered.append((name, row))
        self._write(name, row)
        if len(self._numbered) >= PACK_AT and not self._unwritten:
            self._pack()

    def _pack(self) -> None:
        try:
            write_pack(self._store, self._folder, self._numbered)
        except OSError as err:
            logger.warning("files of this run stay apart: %s", err)
        self._numbered = []

    def _write(self, name: str, row: dict[str, Any]) -> None:
        """Write this file, after those that could not be written before."""
        self._unwritten.append((name, row))
        try:
            while self._unwritten:
                self._store.write_run_file(self._folder, *self._unwritten[0])
                self._unwritten.pop(0)
                self._has_said_full = False
        except OSError as err:
            if not self._has_said_full:
                logger.warning("files of this run cannot be written now: %s", err)
            self._has_said_full = True


def begin_run(store: Store, command: str, *, address: str = "none", **more: Any) -> str:
    """Write down who runs what where, with which code; returns the id of the run.

    Args:
        command: what the user called.
        address: where its workers are.
        more: recipe, recipe_id, models (base model id -> folder), as far as there are any.
    """
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    environment = this_environment()
    is_told = _tell(store, run_id, environment)
    row = {
        "run_id": run_id,
        "command": command,
        "started_at": started.isoformat(timespec="seconds"),
        "address": address,
        "host": socket.gethostname(),
        "n_cpus": os.cpu_count(),
        "mlprune": environment.mlprune,
        "environment_id": environment.id if is_told else None,
        **more,
    }
    store.write_run_file(run_id, "run", row)
    return run_id


def _tell(store: Store, folder: str, environment: Environment) -> bool:
    """Write an environment down; returns whether that could be done."""
    try:
        store.write_run_file(folder, *environment_file(environment))
    except OSError as err:
        logger.info("the environment cannot be written down now: %s", err)
        return False
    return True
