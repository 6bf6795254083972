"""Workers over Ray: a pool of actors, one job each; an actor that dies is replaced and its job given back.

A worker gets jobs once it runs. One that no node has a place for, since a node is gone or others use it, waits for it
while the others work: the pool is as large as the cluster lets it be. A run that has not one of them waits an hour.
"""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import ray

from mlprune.errors import WorkerLostError
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from mlprune.timestamps import timestamp
from ray_jobs.workers.actors import WorkerActor, actor_class
from ray_jobs.workers.placement_groups import Place, in_words
from ray_jobs.workers.ray_failures import FailureClassifier
from ray_jobs.workers.worker import Outcome, described

logger = logging.getLogger(__name__)

SAY_EVERY_S = 60.0
"""How often it is said that no worker has a place."""
PATIENCE_S = 3600.0
"""How long a run waits that has no worker at all; nodes may have to be started, or others to end."""


@dataclass(frozen=True)
class _Member:
    """A worker of the pool: its actor, and the place that it and its shards have."""

    actor: Any
    number: int
    place: Place

    def end(self) -> None:
        """Let it go."""
        ray.kill(self.actor)
        self.place.release()


class RayWorkers:
    """A pool of worker actors.

    Args:
        store_uri: the store, reachable under this name on every node.
        model: the base model, at the same path on every node.
        pool: how many actors, and what each asks for.
    """

    def __init__(self, store_uri: str, model: ModelRef, pool: Pool) -> None:
        self._pool = pool
        self._arguments = (store_uri, model)
        self._losses = FailureClassifier()
        self._n_starts: Counter[int] = Counter()
        self._idle: list[_Member] = []
        self._running: dict[Any, tuple[_Member, Job]] = {}
        self._starting: dict[Any, _Member] = {}
        for number in range(pool.n_workers):
            self._start(number)

    def _start(self, number: int) -> None:
        self._n_starts[number] += 1
        name = f"worker-{number}, start {self._n_starts[number]}"  # as the dashboard shows it
        place = Place(self._pool, name=name)
        options = actor_class(WorkerActor).options(max_restarts=0, name=name, **place.of_worker())
        actor = options.remote(*self._arguments, self._pool, place=place, number=number)
        self._starting[actor.__ray_ready__.remote()] = _Member(actor, number, place)

    def free(self) -> int:
        """Idle workers; while none has work, waits until there is one.

        Raises:
            WorkerLostError: there is none for too long.
        """
        self._welcome(timeout_s=0.0)
        give_up = time.monotonic() + PATIENCE_S
        while not self._idle and not self._running:
            if self._welcome(timeout_s=SAY_EVERY_S):
                continue
            if time.monotonic() >= give_up:
                waited = f"{PATIENCE_S / 60:.0f} minutes"
                raise WorkerLostError(
                    "no worker found a place on the cluster", waited=waited, asked=in_words(self._pool)
                )
            logger.warning("no worker has a place on the cluster yet: waiting for one with %s", in_words(self._pool))
        return len(self._idle)

    def _welcome(self, *, timeout_s: float) -> bool:
        """Let workers that have started be idle; one that could not start says why when it is given a job."""
        started, _ = ray.wait(list(self._starting), num_returns=1, timeout=timeout_s)
        self._idle += [self._starting.pop(one) for one in started]
        return bool(started)

    def submit(self, job: Job) -> None:
        """Hand a job to an idle worker."""
        member = self._idle.pop(0)
        self._running[member.actor.run.remote(job)] = (member, job)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """The jobs that have ended since; blocks until there is one or a new worker has started, or for so long."""
        ended, _ = ray.wait([*self._running, *self._starting], num_returns=1, timeout=timeout_s)
        self._idle += [self._starting.pop(one) for one in ended if one in self._starting]
        return [self._collect(one) for one in ended if one in self._running]

    def _collect(self, reference: Any) -> tuple[Job, Outcome]:
        member, job = self._running.pop(reference)
        worker = f"worker-{member.number}"
        try:
            outcome = self._losses.get(reference, who="a worker", worker=member.number)
        except Exception as err:  # the process is of no use any more, whatever Ray raised
            self._replace(member)
            return job, Outcome(job.makes[-1], job.step, "", worker, timestamp(), 0.0, 0.0, described(err))
        if self._pool.n_shards > 1 and outcome.failure is not None and outcome.failure.is_transient:
            self._replace(member)  # a shard is lost and perhaps its node: the replica waits for a place as a whole
        else:
            self._idle.append(member)
        return job, outcome

    def _replace(self, member: _Member) -> None:
        member.end()
        self._start(member.number)

    def close(self) -> None:
        """End all workers."""
        running = [member for member, _ in self._running.values()]
        for member in [*self._idle, *self._starting.values(), *running]:
            member.end()
