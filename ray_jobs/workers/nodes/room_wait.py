"""Wait of a run without any worker: log what it waits for, and give up after an hour."""

import logging
import time

from mlprune.plan.pool import Pool
from ray_jobs.workers.placement_groups import NO_ROOM_TIMEOUT_S, format_needs, no_room

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
"""Time between two warnings that the cluster has no room for any worker."""
START_WAIT_S = 20.0
"""Time that a job which several workers can share waits for the next worker that is starting."""


class RoomWait:
    """A wait that starts now.

    Args:
        pool: what each worker needs.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._deadline = time.monotonic() + NO_ROOM_TIMEOUT_S

    def check(self) -> None:
        """Log what the run waits for.

        Raises:
            WorkerLostError: it has waited for too long.
        """
        if time.monotonic() >= self._deadline:
            raise no_room("a worker", self._pool)
        needs = format_needs(self._pool)
        logger.warning("the cluster has no room for any worker yet: waiting for a node with %s", needs)
