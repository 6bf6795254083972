"""A replica of the model on Ray: a worker and, if the model is split, the actors of its shards.

A job that runs the model is coordinated by the worker and uses all shards. Jobs that do not run it, such as the
orderings of blocks, run on the shards, one on each, preferably on the shard that has the block.
"""

from collections.abc import Iterable

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.plan.pool import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.actors import ShardActor, WorkerActor, actor_class
from ray_jobs.workers.nodes.requirements import NONE, Requirements
from ray_jobs.workers.placement_groups import ReplicaPlacement


class ReplicaActors:
    """The actors of a replica, and the jobs that they run.

    Args:
        store_uri: the store; every node must reach it under this name.
        model: the base model; every node must have it at the same path.
        pool: resources of the actors.
        needs: each actor checks it, and downloads files of hub models that are missing on its node.
        number: number of the worker.
        name: name in Ray's dashboard.
    """

    def __init__(
        self,
        store_uri: str,
        model: ModelRef,
        pool: Pool,
        needs: Requirements = NONE,
        *,
        number: int,
        name: str,
    ) -> None:
        self.number = number
        self.name = name
        self.node_ids: set[str] = set()
        """Nodes of the actors that have started."""
        self._spans = plan_spans(model.n_blocks, min(pool.n_shards, model.n_blocks))
        self._placement = ReplicaPlacement(pool, name=name)
        n_shard_actors = pool.n_shards if pool.n_shards > 1 else 0
        self._shards = start_shards(
            n_shard_actors, store_uri, model, pool, needs, placement=self._placement, name=name, number=number
        )
        options = actor_class(WorkerActor).options(max_restarts=0, name=name, **self._placement.worker_options())
        self._worker: ActorHandle = options.remote(
            store_uri, model, pool, shards=self._shards, needs=needs, number=number
        )
        self._slots: dict[ObjectRef, frozenset[int]] = {}
        """Reference that is available after some work -> the shards that the work uses."""

    def ready(self) -> list[ObjectRef]:
        """Return references to the actors' nodes, which are available once the actors have started."""
        return [actor.node_id.remote() for actor in (self._worker, *self._shards)]

    @property
    def actors(self) -> tuple[ActorHandle, ...]:
        """The worker and the shards."""
        return (self._worker, *self._shards)

    @property
    def size(self) -> int:
        """Number of shards; a model in one process counts as one."""
        return max(1, len(self._shards))

    @property
    def is_busy(self) -> bool:
        """Whether a job runs, or a job of another replica uses this one."""
        return bool(self._slots)

    @property
    def n_free(self) -> int:
        """Number of shards that no job uses."""
        return len(self._free())

    def start(self, job: Job, helpers: Iterable["ReplicaActors"] = (), *, number: int = 0) -> ObjectRef:
        """Start a job and return the reference of its outcome. A job that runs the model waits for other jobs.

        Args:
            helpers: idle replicas that share the job.
            number: of a job that other replicas can share; 0 for other jobs.
        """
        reference: ObjectRef
        if job.needs_chain or not self._shards:
            return self._use_all(self._worker.run.remote(job, _workers(helpers), number))
        shard = self._best_shard(job)
        reference = self._shards[shard].run.remote(job)
        self._slots[reference] = frozenset({shard})
        return reference

    def finish(self, reference: ObjectRef) -> None:
        """Free the shards that were used until a reference became available."""
        del self._slots[reference]

    def offer(self, number: int, helpers: Iterable["ReplicaActors"]) -> None:
        """Replace the replicas that are offered to a job of this replica."""
        self._worker.offer.remote(number, _workers(helpers))

    def given_back(self, number: int) -> ObjectRef:
        """Return the reference of the names of replicas that a job of this replica gives back; none when it ends."""
        reference: ObjectRef = self._worker.given_back.remote(number)
        return reference

    def help(self, reference: ObjectRef) -> None:
        """Be used by another replica until it gives this one back, at the latest when a reference is available."""
        self._use_all(reference)

    def stop_helping(self, reference: ObjectRef) -> ObjectRef:
        """Drop the states of another replica's job; the replica is used until the returned reference is available."""
        self.finish(reference)
        return self._use_all(self._worker.stop_helping.remote())

    def check(self) -> ObjectRef:
        """Ask whether all processes are alive; the replica is used until the returned reference is available."""
        return self._use_all(self._worker.check.remote())

    def end(self) -> None:
        """Kill the actors and return their resources."""
        for actor in (self._worker, *self._shards):
            ray.kill(actor)
        self._placement.release()

    def _use_all(self, reference: ObjectRef) -> ObjectRef:
        """Note that all shards are used until a reference is available."""
        self._slots[reference] = self._all_slots()
        return reference

    def _all_slots(self) -> frozenset[int]:
        return frozenset(range(self.size))

    def _free(self) -> list[int]:
        return sorted(self._all_slots().difference(*self._slots.values()))

    def _best_shard(self, job: Job) -> int:
        """Return the shard that has the job's block if it is free, or the first free one."""
        free = self._free()
        owner = None if job.reads_block is None else shard_of(self._spans, job.reads_block)
        return owner if owner in free else free[0]


def start_shards(
    n: int,
    store_uri: str,
    model: ModelRef,
    pool: Pool,
    needs: Requirements = NONE,
    *,
    placement: ReplicaPlacement,
    name: str,
    number: int = 0,
) -> tuple[ActorHandle, ...]:
    """Start the actors of the shards of a replica.

    Args:
        n: number of actors.
        needs: each actor checks it.
        placement: resources of the actors.
        name: beginning of their names in Ray's dashboard.
        number: number of the worker that they belong to.
    """
    return tuple(
        actor_class(ShardActor)
        .options(max_restarts=0, name=f"{name}, shard {shard}", **placement.shard_options(shard))
        .remote(store_uri, model, pool, needs=needs, number=number)
        for shard in range(n)
    )


def _workers(replicas: Iterable[ReplicaActors]) -> dict[str, ActorHandle]:
    """Return name -> worker of replicas."""
    return {replica.name: replica._worker for replica in replicas}
