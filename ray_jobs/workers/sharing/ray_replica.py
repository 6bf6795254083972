"""Another worker's replica of the model, which computes tasks of a job that runs in this worker."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from mlprune.models.chain import Chain
from mlprune.models.inference.visitor import Result
from mlprune.models.replicas.replicated_chain import ReplicatedChain
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job
from ray_jobs.workers.ray_failures import FailureClassifier

Result_co = TypeVar("Result_co", covariant=True)


class RayPending(Generic[Result_co]):
    """The result of a task in another worker."""

    def __init__(self, reference: ObjectRef, failures: FailureClassifier) -> None:
        self._reference = reference
        self._failures = failures

    def is_done(self) -> bool:
        """See `Pending.is_done`."""
        return bool(ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Result_co:
        """See `Pending.result`."""
        result: Result_co = self._failures.get(self._reference, who="another replica")
        return result


class RayReplica:
    """The replica of a worker actor that helps with a job."""

    def __init__(self, actor: ActorHandle, job: Job) -> None:
        self._actor = actor
        self._arguments = (job.chain_model, job.offload_level)
        self._failures = FailureClassifier()

    def begin(self, task: Callable[[Chain], Result]) -> RayPending[Result]:
        """See `Replica.begin`."""
        return RayPending(self._actor.help.remote(*self._arguments, task), self._failures)


class JobReplicas:
    """The replicas that share a job with this worker. They load the model at the same time as this worker.

    Args:
        actors: the other workers.
        pool: resources of every worker.
    """

    def __init__(self, actors: Sequence[ActorHandle], job: Job, pool: Pool) -> None:
        self._replicas = [RayReplica(actor, job) for actor in actors]
        self._group_size = (
            pool.model_threads if pool.n_shards == 1 and not (pool.is_offloaded or job.offload_level) else None
        )
        for replica in self._replicas:
            replica.begin(_load)

    def join(self, chain: Chain) -> Chain:
        """Make one chain of this worker's chain and those of the others."""
        return ReplicatedChain(chain, self._replicas, group_size=self._group_size)


def _load(chain: Chain) -> None:
    """Do nothing: the replica has loaded its chain."""
