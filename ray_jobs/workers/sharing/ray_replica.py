"""Another worker's replica of the model, which computes tasks of a job that runs in this worker."""

from collections.abc import Callable
from typing import Generic, TypeVar

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from mlprune.models.chain import Chain, Replica
from mlprune.models.inference.visitor import Result
from mlprune.models.replicas.members import load_only
from mlprune.models.replicas.replicated_chain import ReplicatedChain
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job
from ray_jobs.workers.ray_failures import FailureClassifier
from ray_jobs.workers.sharing.offers import Offers

Result_co = TypeVar("Result_co", covariant=True)


class RayPending(Generic[Result_co]):
    """The result of a task in another worker."""

    def __init__(self, replica: "RayReplica", reference: ObjectRef) -> None:
        self._replica = replica
        self._reference = reference

    def is_done(self) -> bool:
        """See `Pending.is_done`."""
        return bool(ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Result_co:
        """See `Pending.result`."""
        result: Result_co = self._replica.failures.get(self._reference, who="another replica", name=self._replica.name)
        self._replica.has_worked = True
        return result


class RayReplica:
    """The replica of a worker actor that shares a job."""

    def __init__(self, actor: ActorHandle, job: Job, *, name: str) -> None:
        self.name = name
        self.actor = actor
        self.failures = FailureClassifier()
        self.has_worked = False
        """Whether a task has ended, so that the replica has loaded the model."""
        self._arguments = (job.chain_model, job.offload_level)

    def begin(self, task: Callable[[Chain], Result]) -> RayPending[Result]:
        """See `Replica.begin`."""
        return RayPending(self, self.actor.help.remote(*self._arguments, task))


class JobReplicas:
    """The replicas that share a job with this worker; see `ReplicaOffer`.

    Those that are offered when the job begins load the model at the same time as this worker.

    Args:
        offers: name -> worker.
        pool: resources of every worker.
    """

    def __init__(self, offers: Offers[ActorHandle], job: Job, pool: Pool) -> None:
        self._offers = offers
        self._job = job
        self._replicas: dict[str, RayReplica] = {}
        self._group_size = (
            pool.model_threads if pool.n_shards == 1 and not (pool.is_offloaded or job.offload_level) else None
        )
        for replica in self.replicas():
            replica.begin(load_only)

    def join(self, chain: Chain) -> Chain:
        """Make one chain of this worker's chain and those of the others."""
        return ReplicatedChain(chain, self, group_size=self._group_size)

    def replicas(self) -> list[RayReplica]:
        """See `ReplicaOffer.replicas`."""
        offered = self._offers.current()
        for name in offered.keys() - self._replicas.keys():
            self._replicas[name] = RayReplica(offered[name], self._job, name=name)
        return [self._replicas[name] for name in offered]

    def give_back(self, replica: Replica) -> None:
        """See `ReplicaOffer.give_back`."""
        assert isinstance(replica, RayReplica), "only replicas of `replicas` are given back"
        self._offers.give_back(replica.name)

    def peaks(self) -> list[ObjectRef]:
        """Return references to the peak memory of the replicas that share the job and have loaded the model."""
        return [replica.actor.peak_gib.remote() for replica in self.replicas() if replica.has_worked]
