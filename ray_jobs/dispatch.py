"""Workers over Ray: a pool of actors, one job each; an actor that dies is replaced and its job given back.

An actor gets jobs once it runs. One that no node has a place for, since a node is gone or others use it, waits for it
while the others work: the pool is as large as the cluster lets it be.
"""

import logging
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import ray

from mlprune.plan.pool import Pool
from mlprune.steps.jobs import Job, ModelRef
from ray_jobs.actors import WorkerActor, actor_class, asked_of_ray
from ray_jobs.losses import Losses
from ray_jobs.worker import Outcome, described

logger = logging.getLogger(__name__)

SAY_EVERY_S = 60.0
"""How often it is said that no worker has a place."""


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
        self._losses = Losses()
        self._n_starts: Counter[int] = Counter()
        self._idle: list[tuple[Any, int]] = []
        self._running: dict[Any, tuple[Any, int, Job]] = {}
        self._starting: dict[Any, tuple[Any, int]] = {}
        for number in range(pool.n_workers):
            self._start(number)

    def _start(self, number: int) -> None:
        """Start an actor; with shards, the shards hold the resources and the worker only passes on."""
        beside = {"num_cpus": 0, "num_gpus": 0, "memory": self._pool.beside_bytes}
        asked = asked_of_ray(self._pool) if self._pool.n_shards == 1 else beside
        self._n_starts[number] += 1
        name = f"worker-{number}, start {self._n_starts[number]}"  # as the dashboard shows it
        options = actor_class(WorkerActor).options(max_restarts=0, name=name, **asked)
        actor = options.remote(*self._arguments, self._pool, number=number)
        self._starting[actor.__ray_ready__.remote()] = (actor, number)

    def free(self) -> int:
        """Idle actors; while none has work, waits until there is one."""
        self._welcome(timeout_s=0.0)
        while not self._idle and not self._running:
            if not self._welcome(timeout_s=SAY_EVERY_S):
                logger.warning("no worker has a place on the cluster yet, or none has started: waiting for one")
        return len(self._idle)

    def _welcome(self, *, timeout_s: float) -> bool:
        """Let actors that have started be idle; one that could not start says why when it is given a job."""
        started, _ = ray.wait(list(self._starting), num_returns=1, timeout=timeout_s)
        self._idle += [self._starting.pop(one) for one in started]
        return bool(started)

    def submit(self, job: Job) -> None:
        """Hand a job to an idle actor."""
        actor, number = self._idle.pop(0)
        self._running[actor.run.remote(job)] = (actor, number, job)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """The jobs that have ended since; blocks until there is one or a new actor has started, or for so long."""
        ended, _ = ray.wait([*self._running, *self._starting], num_returns=1, timeout=timeout_s)
        self._idle += [self._starting.pop(one) for one in ended if one in self._starting]
        return [self._collect(one) for one in ended if one in self._running]

    def _collect(self, reference: Any) -> tuple[Job, Outcome]:
        actor, number, job = self._running.pop(reference)
        try:
            outcome = self._losses.get(reference, who="a worker", worker=number)
        except Exception as err:  # the process is of no use any more, whatever Ray raised
            ray.kill(actor)
            self._start(number)
            return job, Outcome(job.makes[-1], job.step, "", f"worker-{number}", _now(), 0.0, 0.0, described(err))
        self._idle.append((actor, number))
        return job, outcome

    def close(self) -> None:
        """End all actors."""
        for actor, _ in [*self._idle, *self._starting.values()]:
            ray.kill(actor)
        for actor, _, _ in self._running.values():
            ray.kill(actor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
