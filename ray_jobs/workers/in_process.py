"""Workers in this process: one job at a time on all cores, without Ray (`--address none`)."""

from functools import partial

from mlprune.models.chain import Chain
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.model_loading import load_model
from ray_jobs.workers.worker import Outcome, Worker, worker_name


class InProcessWorkers:
    """A pool of one worker, in the driver's process.

    Args:
        store_uri: the store.
        model: the base model.
        pool: resources of this process.
    """

    def __init__(self, store_uri: str, model: ModelRef, pool: Pool) -> None:
        def load(other: ModelRef | None, *, offloaded: bool = False) -> Chain:
            return load_model(other or model, pool, offloaded=offloaded)

        self._worker = Worker(
            store_uri,
            load,
            name=worker_name(0),
            threads=pool.threads,
            load_offloaded=partial(load, offloaded=True),
        )
        self._finished: list[tuple[Job, Outcome]] = []

    def free(self) -> int:
        """Return 1, or 0 until the last job's outcome is collected."""
        return 1 - len(self._finished)

    def submit(self, job: Job) -> None:
        """Run the job; returns when it has finished."""
        self._finished.append((job, self._worker.run(job)))

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Return the finished job without waiting."""
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        """Do nothing: this pool has only the process of the driver."""
