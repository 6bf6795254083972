"""Wait of a run without any worker: log what it waits for, and give up after an hour."""

import logging
import time

from mlprune.errors import WorkerLostError
from mlprune.plan.pool import Pool
from ray_jobs.workers.placement_groups import format_needs

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
"""Time between two warnings that the cluster has no room for any worker."""
START_WAIT_S = 20.0
"""Time that a job which several workers can share waits for the next worker that is starting."""
NO_WORKER_TIMEOUT_S = 3600.0
"""Time that a run waits without any worker; nodes may have to start, or other users' jobs to end."""


class RoomWait:
    """A wait that starts now.

    Args:
        pool: what each worker needs.
    """

    def __init__(self, pool: Pool) -> None:
        self._needs = format_needs(pool)
        self._deadline = time.monotonic() + NO_WORKER_TIMEOUT_S

    def check(self) -> None:
        """Log what the run waits for.

        Raises:
            WorkerLostError: it has waited for too long.
        """
        if time.monotonic() >= self._deadline:
            waited = f"{NO_WORKER_TIMEOUT_S / 60:.0f} minutes"
            raise WorkerLostError("the cluster has no room for any worker", waited=waited, needed=self._needs)
        logger.warning("the cluster has no room for any worker yet: waiting for a node with %s", self._needs)
