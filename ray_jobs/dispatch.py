"""Workers over Ray: a pool of actors, one job each; an actor that dies is replaced and its job given back."""

from datetime import UTC, datetime
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from mlprune.errors import WorkerLostError
from mlprune.steps.jobs import Job, ModelRef
from ray_jobs.actors import WorkerActor, actor_class
from ray_jobs.cluster import Pool
from ray_jobs.worker import Outcome, described


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
        self._idle = [self._start(number) for number in range(pool.n_workers)]
        self._running: dict[Any, tuple[Any, int, Job]] = {}

    def _start(self, number: int) -> tuple[Any, int]:
        """A fresh actor and its number; with shards, the shards hold the resources and the worker only passes on."""
        n_shards, n_gpus, threads = self._pool.n_shards, self._pool.n_gpus, self._pool.threads
        alone = n_shards == 1
        options = actor_class(WorkerActor).options(
            num_cpus=threads if alone else 0, num_gpus=n_gpus if alone else 0, max_restarts=0
        )
        shape = {"n_shards": n_shards, "n_gpus": n_gpus, "threads": threads}
        return options.remote(*self._arguments, number=number, **shape), number

    def free(self) -> int:
        """Idle actors."""
        return len(self._idle)

    def submit(self, job: Job) -> None:
        """Hand a job to an idle actor."""
        actor, number = self._idle.pop(0)
        self._running[actor.run.remote(job)] = (actor, number, job)

    def wait(self, timeout_s: float | None = None) -> list[tuple[Job, Outcome]]:
        """The jobs that have ended since; blocks until there is one, or for so long."""
        ended, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        return [self._collect(reference) for reference in ended]

    def _collect(self, reference: Any) -> tuple[Job, Outcome]:
        actor, number, job = self._running.pop(reference)
        try:
            outcome = ray.get(reference)
        except (RayActorError, RayTaskError) as err:
            ray.kill(actor)
            self._idle.append(self._start(number))
            lost = WorkerLostError("a worker died", worker=number, reason=str(err).partition("\n")[0])
            return job, Outcome(job.makes[-1], job.step, "", f"worker-{number}", _now(), 0.0, 0.0, described(lost))
        self._idle.append((actor, number))
        return job, outcome

    def close(self) -> None:
        """End all actors."""
        for actor, _ in self._idle:
            ray.kill(actor)
        for actor, _, _ in self._running.values():
            ray.kill(actor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
