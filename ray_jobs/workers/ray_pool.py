"""Workers on Ray: a pool of actors that run one job each. An actor that dies is replaced and its job returned.

A worker whose device stopped working, or that cannot load the model, is replaced after a pause and, after too many
failures in a row, not used any more.

A job can be given to several workers that share it: one runs the job, the others help it until it has ended.

A worker gets jobs as soon as its actor runs. If the cluster has no room for a worker, because a node is lost or others
use it, that worker waits and the others continue. A run without any worker waits up to an hour.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from mlprune.errors import WorkerLostError
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.actors import WorkerActor, actor_class
from ray_jobs.workers.placement_groups import ReplicaPlacement, format_needs
from ray_jobs.workers.ray_failures import FailureClassifier
from ray_jobs.workers.recovery.failures import Failure, describe_failure
from ray_jobs.workers.recovery.worker_health import WorkerHealth
from ray_jobs.workers.worker import Outcome

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
"""Time between two warnings that the cluster has no room for any worker."""
START_WAIT_S = 20.0
"""Time that a job which several workers can share waits for the next worker that is starting."""
NO_WORKER_TIMEOUT_S = 3600.0
"""Time that a run waits without any worker; nodes may have to start, or other users' jobs to end."""


@dataclass(frozen=True)
class _Member:
    """A worker of the pool: its actor, and the resources of the actor and its shards."""

    actor: ActorHandle
    number: int
    placement: ReplicaPlacement

    def end(self) -> None:
        """Kill the actor and return its resources."""
        ray.kill(self.actor)
        self.placement.release()


class RayWorkers:
    """A pool of worker actors.

    Args:
        store_uri: the store; every node must reach it under this name.
        model: the base model; every node must have it at the same path.
        pool: number of actors and their resources.
    """

    def __init__(self, store_uri: str, model: ModelRef, pool: Pool) -> None:
        self._pool = pool
        self._arguments = (store_uri, model)
        self._failures = FailureClassifier()
        self._health = WorkerHealth(pool.n_workers)
        self._n_starts: Counter[int] = Counter()
        self._idle: list[_Member] = []
        self._running: dict[ObjectRef, tuple[_Member, Job]] = {}
        self._starting: dict[ObjectRef, _Member] = {}
        self._helping: dict[ObjectRef, list[_Member]] = {}
        """Workers that share a running job."""
        self._returning: dict[ObjectRef, _Member] = {}
        """Workers that have shared a job and drop its states."""
        self._slow: set[ObjectRef] = set()
        """Starts that a shared job does not wait for again."""
        for number in range(pool.n_workers):
            self._start(number)

    def _start(self, number: int) -> None:
        self._n_starts[number] += 1
        name = f"worker-{number}, start {self._n_starts[number]}"  # shown in Ray's dashboard
        placement = ReplicaPlacement(self._pool, name=name)
        options = actor_class(WorkerActor).options(max_restarts=0, name=name, **placement.worker_options())
        actor = options.remote(*self._arguments, self._pool, placement=placement, number=number)
        self._starting[actor.__ray_ready__.remote()] = _Member(actor, number, placement)

    @property
    def problem(self) -> str | None:
        """Why no further job can be run: the last worker failed too often. None while a worker is left."""
        return self._health.problem

    def free(self) -> int:
        """Count the idle workers. If no worker is idle or busy, wait until one has started or none is left.

        Raises:
            WorkerLostError: no worker started in time.
        """
        self._restart_failed()
        self._collect_started(timeout_s=0.0)
        deadline = time.monotonic() + NO_WORKER_TIMEOUT_S
        while not self._idle and not self._running and self.problem is None:
            self._restart_failed(wait=not self._starting and not self._returning)
            pause_s = self._health.seconds_to_next()
            if self._collect_started(timeout_s=min(LOG_INTERVAL_S, pause_s or LOG_INTERVAL_S)) or pause_s is not None:
                continue
            needs = format_needs(self._pool)
            if time.monotonic() >= deadline:
                waited = f"{NO_WORKER_TIMEOUT_S / 60:.0f} minutes"
                raise WorkerLostError("the cluster has no room for any worker", waited=waited, needed=needs)
            logger.warning("the cluster has no room for any worker yet: waiting for a node with %s", needs)
        return len(self._idle)

    def _collect_started(self, *, timeout_s: float) -> bool:
        """Mark workers that have started as idle, and replace those that failed. Returns whether there were any."""
        started, _ = ray.wait([*self._starting, *self._returning], num_returns=1, timeout=timeout_s)
        self._settle(started)
        return bool(started)

    def _settle(self, references: Iterable[ObjectRef]) -> None:
        """Mark workers that have started or returned as idle, and replace those that failed."""
        for reference in references:
            if reference in self._starting:
                self._settle_start(reference)
            elif reference in self._returning:
                self._settle_return(reference)

    def _settle_start(self, reference: ObjectRef) -> None:
        member = self._starting.pop(reference)
        try:
            self._failures.get(reference, who="a worker", worker=member.number)
        except Exception as err:  # whatever the error is, another process may start
            self._fail(member, describe_failure(err, at_load=True, is_replaceable=True))
        else:
            self._idle.append(member)

    def _settle_return(self, reference: ObjectRef) -> None:
        member = self._returning.pop(reference)
        try:
            failure: Failure | None = self._failures.get(reference, who="a worker", worker=member.number)
        except Exception:  # the actor cannot be used any more, as after any error of Ray
            self._replace(member)
        else:
            self._settle_member(member, failure)

    def _settle_member(self, member: _Member, failure: Failure | None) -> None:
        """Mark a worker as idle after a job, unless the job's failure means that the worker has to be replaced."""
        if failure is not None and failure.worker_fault:
            self._fail(member, failure)
            return
        self._health.succeeded(member.number)
        if self._pool.n_shards > 1 and failure is not None and failure.is_transient:
            self._replace(member)  # a shard, and perhaps its node, is lost: the whole replica waits for resources
        else:
            self._idle.append(member)

    def _restart_failed(self, *, wait: bool = False) -> None:
        """Start the workers whose pause after a failure is over.

        Args:
            wait: wait for the next one.
        """
        pause_s = self._health.seconds_to_next()
        if wait and pause_s:
            time.sleep(pause_s)
        for number in self._health.due():
            self._start(number)

    def spare(self, n_jobs: int) -> int:
        """Return how many workers are idle besides those for some jobs, after waiting for those that are starting."""
        while expected := [one for one in (*self._starting, *self._returning) if one not in self._slow]:
            ready, _ = ray.wait([*self._running, *expected], num_returns=1, timeout=START_WAIT_S)
            self._settle(ready)
            if not ready:
                self._slow.update(expected)
            elif ready[0] in self._running:
                break
        return max(0, len(self._idle) - n_jobs)

    def submit(self, job: Job, *, n_helpers: int = 0) -> None:
        """Give a job to an idle worker.

        Args:
            n_helpers: number of other idle workers that share the job.
        """
        member, *helpers = (self._idle.pop(0) for _ in range(1 + n_helpers))
        reference = member.actor.run.remote(job, tuple(helper.actor for helper in helpers))
        self._running[reference], self._helping[reference] = (member, job), helpers

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """Wait until a job has ended, a worker has started or the time is over; return the jobs that have ended."""
        self._restart_failed()
        timeouts = [seconds for seconds in (timeout_s, self._health.seconds_to_next()) if seconds is not None]
        references = [*self._running, *self._starting, *self._returning]
        ready, _ = ray.wait(references, num_returns=1, timeout=min(timeouts, default=None))
        self._settle(ready)
        return [self._collect(reference) for reference in ready if reference in self._running]

    def _collect(self, reference: ObjectRef) -> tuple[Job, Outcome]:
        member, job = self._running.pop(reference)
        self._returning |= {helper.actor.stop_helping.remote(): helper for helper in self._helping.pop(reference)}
        worker = f"worker-{member.number}"
        try:
            outcome: Outcome = self._failures.get(reference, who="a worker", worker=member.number)
        except Exception as err:  # after any error of Ray, the actor cannot be used any more
            self._replace(member)
            return job, Outcome(job.makes[-1], job.step, "", worker, _now(), 0.0, 0.0, describe_failure(err))
        self._settle_member(member, outcome.failure)
        return job, outcome

    def _replace(self, member: _Member) -> None:
        member.end()
        self._start(member.number)

    def _fail(self, member: _Member, failure: Failure) -> None:
        """End a worker that failed; it is started again when its pause is over, unless it failed too often."""
        member.end()
        self._health.failed(member.number, failure)

    def close(self) -> None:
        """Kill all workers."""
        running = [member for member, _ in self._running.values()]
        helping = [member for helpers in self._helping.values() for member in helpers]
        for member in [*self._idle, *self._starting.values(), *self._returning.values(), *running, *helping]:
            member.end()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
