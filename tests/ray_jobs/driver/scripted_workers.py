"""Jobs that are only names, and workers whose outcomes a function decides."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from mlprune.processes.job_parts import RunningParts
from mlprune.steps.job import Job, ModelJob, ModelRef, RecordKey
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.recovery import Failure
from ray_jobs.workers.worker import Outcome
from tests.stub_jobs import StubJob

BROKEN = Failure("ValueError", "broken", is_transient=False, is_damage=False)
LOST = Failure("WorkerLostError", "gone", is_transient=True, is_damage=False)
OUT_OF_MEMORY = Failure("OutOfMemoryError", "out of memory", is_transient=True, is_damage=False, is_memory=True)


@dataclass(frozen=True)
class NamedJob(StubJob):
    """A job that makes one record of its name, after others."""

    step: ClassVar[str] = "prune"
    name: str
    after: tuple[str, ...] = ()

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        return (("masks", self.name),)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        return tuple(("masks", name) for name in self.after)


@dataclass(frozen=True)
class BatchedJob(NamedJob, ModelJob):
    """A job that runs the model on batches."""

    batch_tokens: int = field(default=128, kw_only=True)

    @property
    def chain_model(self) -> ModelRef:
        raise NotImplementedError


def outcome_of(job: Job, failure: Failure | None = None, *, started_at: str = "2026-01-01") -> Outcome:
    """The outcome of an attempt of half a second."""
    return Outcome(job.makes[-1], job.step, "host", "worker", started_at, 0.5, 0.1, failure)


class ScriptedWorkers:
    """Workers that finish one job per wait, with a failure that a function returns for the job and the attempt."""

    def __init__(self, decide: Callable[[Job, int], Failure | None] = lambda *_: None, capacity: int = 2) -> None:
        self._decide = decide
        self._capacity = capacity
        self._running: list[Job] = []
        self._helpers: dict[str, int] = {}
        self.submitted: list[str] = []
        self.helpers: list[int] = []
        """Number of workers that shared each submitted job."""
        self.timeouts: list[float | None] = []
        self.shared: list[list[str]] = []
        """Running jobs that idle workers were given to, after each submission."""
        self.recalled: list[int] = []
        self.most_at_once = 0
        self.problem: str | None = None
        self.changes: list[PoolChange] = []

    def free(self) -> int:
        return 0 if self.problem else self._capacity - len(self._running)

    def size(self, job: Job) -> int:
        return 1

    def spare(self, n_jobs: int) -> int:
        return self.free() - n_jobs

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        self._capacity -= n_helpers
        self._helpers[job.makes[0][1]] = n_helpers
        self.helpers.append(n_helpers)
        self._running.append(job)
        self.submitted.append(job.makes[0][1])
        self.most_at_once = max(self.most_at_once, len(self._running))

    def share(self, jobs: Iterable[Job]) -> None:
        self.shared.append([job.makes[0][1] for job in jobs])

    def recall(self, n_jobs: int) -> None:
        self.recalled.append(n_jobs)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        self.timeouts.append(timeout_s)
        job = self._running.pop(0)
        self._capacity += self._helpers.pop(job.makes[0][1])
        failure = self._decide(job, self.submitted.count(job.makes[0][1]))
        return [(job, outcome_of(job, failure))]

    def take_changes(self) -> list[PoolChange]:
        changes, self.changes = self.changes, []
        return changes

    @property
    def running_parts(self) -> RunningParts:
        return {}

    def close(self) -> None:
        pass
