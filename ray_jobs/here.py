"""Workers in this process: one job at a time, on all its cores, without Ray (`--address none`)."""

import os
from collections.abc import Callable

from mlprune.models.chain import Chain
from mlprune.steps.jobs import Job
from ray_jobs.worker import Outcome, Worker, worker_name


class HereWorkers:
    """One worker, in the process of the driver."""

    def __init__(self, store_uri: str, load_chain: Callable[[], Chain]) -> None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._worker = Worker(store_uri, load_chain, name=worker_name(0), threads=threads)
        self._ended: list[tuple[Job, Outcome]] = []

    def free(self) -> int:
        """One job, once the last one has been collected."""
        return 1 - len(self._ended)

    def submit(self, job: Job) -> None:
        """Run it."""
        self._ended.append((job, self._worker.run(job)))

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """The job that was run; it has ended already."""
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Nothing to let go."""
