"""Health of workers: count failures of a worker in a row, space its restarts, and retire it after too many.

A failure of a worker is one that may not be the fault of its job: a process of it died, its device stopped working, or
it could not load the model, for example because another user's process fills the accelerator.
"""

import logging
import time
from collections import Counter

from ray_jobs.workers.recovery.failures import Failure

logger = logging.getLogger(__name__)

MAX_FAILURES = 6
"""Failures in a row after which a worker is retired; more than the attempts of a job that breaks its device."""
FIRST_PAUSE_S = 10.0
"""Time until a worker that failed to load is started again; each further failure doubles it. Other failures pause a
worker from the second in a row on, so that other workers take its jobs.
"""


class WorkerHealth:
    """Failures of the workers of a pool."""

    def __init__(self, n_workers: int) -> None:
        self._n_failures: Counter[int] = Counter()
        self._restart_at: dict[int, float] = {}
        self._active = set(range(n_workers))
        self._last_failure = "all of them were on nodes that left"
        self.problem: str | None = None
        """Why no worker is left; None while one is."""

    def add(self, number: int) -> None:
        """Note that the pool has a further worker."""
        self._active.add(number)

    def remove(self, number: int) -> None:
        """Note that the pool does not have a worker any more."""
        self._active.discard(number)
        self._restart_at.pop(number, None)
        self._n_failures.pop(number, None)
        self._end_if_none_is_left()

    def succeeded(self, number: int) -> None:
        """Note that a worker has run a job; whether the job itself succeeded does not matter."""
        del self._n_failures[number]

    def failed(self, number: int, failure: Failure, *, is_final: bool = False) -> bool:
        """Note that a worker has failed. Returns whether it is to be started again, as soon as `due` returns it.

        The last worker does not retire because its process dies: without others, its jobs may be the cause, and each of
        them fails after some attempts.

        Args:
            is_final: the worker cannot be started again.
        """
        self._n_failures[number] += 1
        n_failures = self._n_failures[number]
        has_others = len(self._active) > 1
        may_be_job = failure.worker_fault == "lost process" and not failure.at_load and not has_others
        if is_final or (n_failures >= MAX_FAILURES and not may_be_job):
            self._retire(number, failure)
            return False
        n_doublings = n_failures - 1 if failure.at_load else n_failures - 2
        pause_s = FIRST_PAUSE_S * 2**n_doublings if failure.at_load or (has_others and n_doublings >= 0) else 0.0
        self._restart_at[number] = time.monotonic() + pause_s
        again = f"in {pause_s:.0f} s" if pause_s else "now"
        logger.warning("worker-%d failed and starts again %s: %s", number, again, failure.message)
        return True

    def _retire(self, number: int, failure: Failure) -> None:
        n_failures = self._n_failures[number]
        times = "once" if n_failures == 1 else f"{n_failures} times in a row"
        self._active.discard(number)
        self._last_failure = f"worker-{number} failed {times}: {failure.message}"
        self._end_if_none_is_left()
        if self.problem is None:
            logger.warning("worker-%d failed %s; the others continue without it: %s", number, times, failure.message)

    def _end_if_none_is_left(self) -> None:
        if not self._active:
            self.problem = f"no worker is left: {self._last_failure}"

    def due(self) -> list[int]:
        """Return the failed workers whose pause is over; each is returned once."""
        now = time.monotonic()
        due = [number for number, at in self._restart_at.items() if at <= now]
        for number in due:
            del self._restart_at[number]
        return due

    def seconds_to_next(self) -> float | None:
        """Return the time until the next pause is over; None if no worker pauses."""
        times = self._restart_at.values()
        return max(0.0, min(times) - time.monotonic()) if times else None
