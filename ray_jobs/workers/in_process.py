"""Workers in this process: one job at a time, on all its cores, without Ray (`--address none`)."""

from functools import partial

from mlprune.models.chain import Chain
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.model_loading import load_here
from ray_jobs.workers.worker import Outcome, Worker, worker_name


class InProcessWorkers:
    """One worker, in the process of the driver.

    Args:
        store_uri: the store.
        model: the base model.
        pool: what this process may use.
    """

    def __init__(self, store_uri: str, model: ModelRef, pool: Pool) -> None:
        def load(other: ModelRef | None, *, offloaded: bool = False) -> Chain:
            return load_here(other or model, pool, offloaded=offloaded)

        self._worker = Worker(
            store_uri,
            load,
            name=worker_name(0),
            threads=pool.threads,
            load_offloaded=partial(load, offloaded=True),
        )
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
