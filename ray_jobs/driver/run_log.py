"""Write the log of a run, also of commands without a recipe: planned jobs, every attempt, failures and the end.

The catalog's tables of runs are filled from these files. They are not results: if they cannot be written because the
disk is full, the run continues and writes them as soon as there is room.

Attempts that succeed are written together, `WRITE_INTERVAL_S` after the first of them or once there are `PACK_SIZE`.
Failures are written at once. So if the process is killed, the log lacks at most the successful attempts of that
interval. Their results are in the store: each job writes its own record, and a later run plans by records alone.
"""

import logging
import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

from mlprune.errors import MlpruneError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.processes.process_identity import this_process
from mlprune.processes.remaining_time import PlannedKind
from mlprune.steps.job import Job, batch_tokens_of
from mlprune.store.records import Record
from mlprune.store.run_log_entries import SearchState
from mlprune.store.run_log_files import run_file_path, write_pack
from mlprune.store.store import Store
from mlprune.timestamps import timestamp
from ray_jobs.driver.job_units import NO_UNITS, JobUnits
from ray_jobs.process.environment import Environment, environment_file, this_environment
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.recovery import Failure, memory_level
from ray_jobs.workers.run_metrics import NO_METRICS, Metrics
from ray_jobs.workers.worker import Outcome, Stopwatch, worker_name

logger = logging.getLogger(__name__)

PACK_SIZE = 1_000
"""Number of entries in one file: a run of a million jobs leaves a thousand files."""
WRITE_INTERVAL_S = 1.0
"""Longest time between a successful attempt and its entry in the log."""

AttemptStatus = Literal["done", "lost", "failed"]
"""Result of an attempt. `lost`: it failed and the job is retried."""
RunEnd = Literal["done", "failed", "stopped"]
"""End of a run. `failed`: some jobs failed; `stopped`: an error or a signal ended the run."""


@dataclass(frozen=True)
class RecordedRecipe:
    """The recipe of a run, for the log."""

    name: str
    id: str
    yaml: str | None
    """Its text; None if it is not known."""
    models: Mapping[str, str]
    """Base model id -> folder."""


class RunLog:
    """Writes the files of one run.

    Args:
        store: where the files go.
        run_id: the run.
        metrics: count attempts, too.
        round_: how often the run was planned again, from 0; each round has its own folder.
        units: of the jobs.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        metrics: Metrics = NO_METRICS,
        round_: int = 0,
        units: JobUnits = NO_UNITS,
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._run_id = run_id
        self._folder = f"{run_id}-{round_}" if round_ else run_id
        self._environments: list[tuple[Environment, str]] = []
        """Environments that are already written, with their ids: an id is a hash over all packages."""
        self._planned_at = ""
        self._units = units
        self._n_planned: Counter[str] = Counter()
        self._kinds: dict[str, PlannedKind] = {}
        self._searches: tuple[SearchState, ...] = ()
        self._lock = threading.RLock()
        """The timer writes from its own thread."""
        self._n_entries = 0
        self._entries: list[tuple[str, JsonObject]] = []
        """Name and content of the numbered entries that are not in a full pack yet, written or not."""
        self._n_written = 0
        """Number of these that are written."""
        self._paths: list[str] = []
        """The files that have them."""
        self._unwritten: list[tuple[str, JsonObject]] = []
        """Other files that could not be written yet."""
        self._has_warned = False
        self._timer: threading.Timer | None = None
        """Writes the entries; None if there are none to write."""
        self._error: MlpruneError | None = None
        """The error with which the timer ended."""

    def start(self, jobs: Iterable[Job]) -> None:
        """Write the planned jobs and the process of the driver."""
        self._planned_at = timestamp()
        self.plan_more(jobs)

    def note_load(self, *, n_waiting: int, n_running: int) -> None:
        """Put the numbers of waiting and running jobs into the metrics."""
        self._metrics.set_load(n_waiting=n_waiting, n_running=n_running)

    def plan_more(self, jobs: Iterable[Job]) -> None:
        """Write the planned jobs after more of them were planned."""
        jobs = list(jobs)
        self._n_planned.update(job.step for job in jobs)
        self._kinds = self._units.with_jobs(self._kinds, jobs)
        planned: JsonObject = {
            "jobs": dict(self._n_planned),
            "kinds": {kind: [each.n_jobs, round(each.units, 6)] for kind, each in self._kinds.items()},
            **({"flops": {**self._units.flops}} if self._units.flops else {}),
            "process": this_process(),
            "planned_at": self._planned_at,
        }
        self._write("planned", planned)

    def log_searches(self, states: tuple[SearchState, ...]) -> None:
        """Write how far the searches are, if they have new results."""
        if states != self._searches:
            self._searches = states
            self._write("searches", {"searches": [state.to_json() for state in states]})

    def log_attempt(
        self, job: Job, outcome: Outcome, *, status: AttemptStatus, attempt: int, retry: Job | None = None
    ) -> None:
        """Write one attempt of a job; `retry` is what is tried next, if anything is."""
        self._metrics.count_attempt(job, outcome, status=status, retry=retry)
        self._log_outcome(
            outcome,
            {
                "status": status,
                "attempt": attempt,
                "retries": attempt - 1,
                "batch_tokens": batch_tokens_of(job),
                "memory_level": memory_level(job),
                "error": outcome.failure.error if outcome.failure else None,
                "makes": [list(key) for key in job.makes],
                "units": round(self._units.of(job), 6),
            },
        )
        if status != "done":
            self.flush()

    def log_record(self, outcome: Outcome) -> None:
        """Write a record that a command made without a planned job."""
        self._log_outcome(outcome, {"status": "done", "attempt": 1, "retries": 0})

    def _log_outcome(self, outcome: Outcome, more: JsonObject) -> None:
        environment_id = self._environment_id(outcome.environment)
        row = dict(vars(outcome))
        del row["failure"], row["makes"], row["environment"], row["n_bytes"]
        self._add("job", {**self._names(outcome), **row, "environment_id": environment_id, **more})

    def log_failure(self, outcome: Outcome, failure: Failure, *, attempts: int) -> None:
        """Write a job that is not retried in this run."""
        row = {**self._names(outcome), "step": outcome.step, "error": failure.error, "message": failure.message}
        row |= {"work": failure.work or None, "traceback": failure.traceback or None}
        self.flush()
        self._add("failure", {**row, "attempts": attempts, "failed_at": timestamp()})
        self.flush()

    def log_done_elsewhere(self, job: Job) -> None:
        """Write a job that another run has done in the meantime."""
        kind, record_id = job.makes[-1]
        names = {"step": job.step, "record_kind": kind, "record_id": record_id}
        self._add("elsewhere", {**names, "units": round(self._units.of(job), 6)})

    def log_pool_change(self, change: PoolChange) -> None:
        """Write a change of the number of workers."""
        self._metrics.set_workers(change.n_replicas)
        self._add("pool", asdict(change))
        self.flush()

    def end(self, how: RunEnd, **counts: int) -> None:
        """Write how the run ended and its counts of jobs."""
        self._write("ended", {"how": how, "ended_at": timestamp(), **counts})

    def _environment_id(self, environment: Environment | None) -> str | None:
        """Return the id of an environment and write the environment once; None while it cannot be written."""
        if environment is None:
            return None
        for written, environment_id in self._environments:
            if written == environment:
                return environment_id
        if not _write_environment(self._store, self._folder, environment):
            return None
        self._environments.append((environment, environment.id))
        return environment.id

    def _names(self, outcome: Outcome) -> dict[str, JsonValue]:
        kind, record_id = outcome.makes
        return {"run_id": self._run_id, "job_id": record_id, "record_kind": kind, "record_id": record_id}

    def _add(self, kind: str, row: JsonObject) -> None:
        """Add the next numbered entry, which is written within `WRITE_INTERVAL_S`; see `flush` for the errors."""
        with self._lock:
            self._entries.append((f"{kind}-{self._n_entries}", row))
            self._n_entries += 1
            self._raise_error()
            if len(self._entries) - self._n_written >= PACK_SIZE:
                self.flush()
            else:
                self._write_later()

    def _write(self, name: str, row: JsonObject) -> None:
        """Write a file that is not numbered, after all entries."""
        with self._lock:
            self._unwritten.append((name, row))
            self.flush()

    def flush(self) -> None:
        """Write everything that is not written yet. Writes that a full disk prevents are tried again later.

        Raises:
            StoreError, TransientError: the store could not be reached, now or when the timer wrote.
        """
        with self._lock:
            self._raise_error()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                self._write_entries()
                while self._unwritten:
                    self._store.write_run_file(self._folder, *self._unwritten[0])
                    self._unwritten.pop(0)
                self._has_warned = False
            except OSError as err:
                if not self._has_warned:
                    logger.warning("the log of this run cannot be written now: %s", err)
                self._has_warned = True
                self._write_later()

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(WRITE_INTERVAL_S, self._write_now)
            self._timer.daemon = True
            self._timer.start()

    def _write_now(self) -> None:
        try:
            self.flush()
        except MlpruneError as err:  # the driver's next entry raises it
            self._error = err

    def _write_entries(self) -> None:
        """Write new entries: one to a file of its own, several to a pack; a full pack replaces all files before it."""
        new = self._entries[self._n_written :]
        if new and len(self._entries) >= PACK_SIZE:
            write_pack(self._store, self._folder, self._entries, replaced=self._paths)
            self._entries, self._n_written, self._paths = [], 0, []
            return
        if len(new) == 1:
            self._store.write_run_file(self._folder, *new[0])
            self._paths.append(run_file_path(self._folder, new[0][0]))
        elif new:
            self._paths.append(write_pack(self._store, self._folder, new, replaced=()))
        self._n_written = len(self._entries)


def begin_run(
    store: Store,
    command: str,
    *,
    address: str = "none",
    recipe: RecordedRecipe | None = None,
) -> str:
    """Write who runs what, where and with which code; returns the id of the run.

    Args:
        command: name of the command.
        address: address of the workers.
        recipe: None for a command without one.
    """
    started = datetime.now(UTC)
    run_id = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    environment = this_environment()
    is_written = _write_environment(store, run_id, environment)
    row: dict[str, JsonValue] = {
        "run_id": run_id,
        "command": command,
        "started_at": started.isoformat(timespec="seconds"),
        "address": address,
        "host": socket.gethostname(),
        "n_cpus": os.cpu_count(),
        "mlprune": environment.mlprune,
        "environment_id": environment.id if is_written else None,
    }
    if recipe is not None:
        row |= {
            "recipe": recipe.name,
            "recipe_id": recipe.id,
            "recipe_yaml": recipe.yaml,
            "models": {**recipe.models},
        }
    store.write_run_file(run_id, "run", row)
    return run_id


def _write_environment(store: Store, folder: str, environment: Environment) -> bool:
    """Write an environment; returns whether it was written."""
    try:
        store.write_run_file(folder, *environment_file(environment))
    except OSError as err:
        logger.info("the environment cannot be written now: %s", err)
        return False
    return True


class RecordingStore(Store):
    """A store that logs each record written to it. The first record starts a run.

    Args:
        uri: the store.
        command: name of the command.
    """

    def __init__(self, uri: str, command: str) -> None:
        super().__init__(uri, quarantine=True)
        self._command = command
        self._log: RunLog | None = None
        self._watch = Stopwatch()
        self.n_written = 0
        """Records written so far."""

    def write_record(self, record: Record) -> None:
        """Write the record, then log it with the time since the previous one."""
        if self._log is None:
            self._log = RunLog(self, begin_run(self, self._command))
            self._log.start(())
        super().write_record(record)
        self.n_written += 1
        outcome = self._watch.outcome((record.kind, record.id), step=self._command, worker=worker_name(0))
        self._log.log_record(outcome)
        self._watch = Stopwatch()

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def end(self, *, is_done: bool) -> None:
        """Log the end of the command; a command that wrote nothing leaves no run."""
        if self._log is None:
            return
        if is_done:
            self._log.end("done", n_failed=0, n_skipped=0, n_elsewhere=0, n_done=self.n_written)
        else:
            self._log.end("stopped", n_done=self.n_written)


@contextmanager
def recorded_run(store: Store, command: str) -> Iterator[Store]:
    """Open the same store as a `RecordingStore` while a command writes to it."""
    recording = RecordingStore(store.uri, command)
    is_done = False
    try:
        yield recording
        is_done = True
    finally:
        recording.end(is_done=is_done)
