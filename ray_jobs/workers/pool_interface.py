"""Interface of a pool of workers for the driver. Does not use Ray."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from mlprune.processes.job_parts import RunningParts
from mlprune.steps.job import Job
from ray_jobs.workers.worker import Outcome


@dataclass(frozen=True)
class PoolChange:
    """A change of the number of replicas during a run."""

    n_replicas: int
    """Number of replicas after the change, those that wait for a node included."""
    reason: str
    changed_at: str
    """UTC, ISO 8601."""


class Workers(Protocol):
    """A pool that runs jobs, in this process or on Ray."""

    @property
    def problem(self) -> str | None:
        """Why no further job can be run: no worker is left. None otherwise."""

    def free(self) -> int:
        """Return the free capacity. Jobs can be submitted as long as their sizes together do not exceed it."""

    def size(self, job: Job) -> int:
        """Return the part of the capacity that a job uses: 1, or more if it runs a model of several shards."""

    def spare(self, n_jobs: int) -> int:
        """Return how many workers remain free after some jobs are submitted; may wait for workers that are starting."""

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        """Start a job on a free worker.

        Args:
            n_helpers: number of further free workers that share the job.
        """

    def share(self, jobs: Iterable[Job]) -> None:
        """Let workers without a job share some running jobs."""

    def recall(self, n_jobs: int) -> None:
        """Take workers back from shared jobs, as soon as they can leave, for jobs that wait for a worker."""

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Wait until a job has ended or the time is over; return the jobs that have ended, with their outcomes."""

    def take_changes(self) -> list[PoolChange]:
        """Return the changes of the number of workers since the last call."""

    @property
    def running_parts(self) -> RunningParts:
        """How far the running jobs are, as far as it is known. Can be read in any thread."""

    def close(self) -> None:
        """End all workers."""
