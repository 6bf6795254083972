"""Workers in this process: one job at a time on all cores, without Ray (`--address none`)."""

import time
from collections.abc import Iterable

from mlprune.models.chain import Chain
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.model_loading import load_model
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.recovery.worker_health import WorkerHealth
from ray_jobs.workers.worker import Outcome, Worker, worker_name


class InProcessWorkers:
    """A pool of one worker, in the driver's process.

    A busy accelerator is tried again. One that stopped working cannot be used by this process any more.

    Args:
        store_uri: the store.
        model: the base model.
        pool: resources of this process.
    """

    def __init__(self, store_uri: str, model: ModelRef, pool: Pool) -> None:
        def load(other: ModelRef | None, *, offload_level: int) -> Chain:
            return load_model(other or model, pool, offload_level=offload_level)

        self._worker = Worker(
            store_uri, load, name=worker_name(0), threads=pool.threads, model_threads=pool.model_threads
        )
        self._health = WorkerHealth(1)
        self._finished: list[tuple[Job, Outcome]] = []

    @property
    def problem(self) -> str | None:
        """Why this process can run no further job; None if it can."""
        return self._health.problem

    def free(self) -> int:
        """Return 1, or 0 until the last job's outcome is collected or if no further job can be run.

        After the accelerator had no room, this waits until it is time to try again.
        """
        pause_s = self._health.seconds_to_next()
        if pause_s is not None:
            time.sleep(pause_s)
            self._health.due()
        return 0 if self.problem else 1 - len(self._finished)

    def size(self, job: Job) -> int:
        """Return 1: one job runs at a time."""
        return 1

    def spare(self, n_jobs: int) -> int:
        """Return 0: no other worker can share a job."""
        return 0

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        """Run the job; returns when it has finished."""
        outcome = self._worker.run(job)
        self._finished.append((job, outcome))
        if outcome.failure is None or outcome.failure.worker_fault is None:
            self._health.succeeded(0)
        else:
            is_broken = outcome.failure.worker_fault != "busy device"
            self._health.failed(0, outcome.failure, is_final=is_broken)

    def share(self, jobs: Iterable[Job]) -> None:
        """Do nothing: no other worker can share a job."""

    def recall(self, n_jobs: int) -> None:
        """Do nothing: no worker shares a job."""

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Return the finished job without waiting."""
        finished, self._finished = self._finished, []
        return finished

    def take_changes(self) -> list[PoolChange]:
        """Return nothing: this process is the only worker."""
        return []

    def close(self) -> None:
        """Do nothing: this pool has only the process of the driver."""
