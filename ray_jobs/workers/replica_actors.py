"""A replica of the model on Ray: its placement group, the wait for room, and its actors.

A placement group reserves the resources of a replica's worker and shards together. If shards asked for resources one by
one, two replicas could each get some of them, and neither would ever be complete. A replica of several shards therefore
reserves everything at once, on as few nodes as possible. A replica of one shard is a single actor and needs no
placement group.

A job that runs the model is coordinated by the worker and uses all shards. Jobs that do not run it, such as the
orderings of blocks, run on the shards, one on each, preferably on the shard that has the block.
"""

import logging
import time
from collections.abc import Iterable
from typing import NotRequired, TypedDict

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from mlprune.errors import WorkerLostError
from mlprune.models.block_ranges import plan_spans, shard_of
from mlprune.planning.resources.node_capacity import Pool
from mlprune.steps.job import Job, ModelRef
from ray_jobs.workers.actors import ShardActor, WorkerActor, actor_class
from ray_jobs.workers.required_files import NONE, Requirements

logger = logging.getLogger(__name__)


NO_ROOM_TIMEOUT_S = 3600.0
"""Time that a run waits without any worker, or a command for its shards; nodes may start, other users' jobs end."""
WORKER, FIRST_SHARD = 0, 1
"""Bundles of a replica's placement group."""
LOG_INTERVAL_S = 60.0
"""Time between two warnings that the cluster has no room for any worker."""
START_WAIT_S = 20.0
"""Time that a job which several workers can share waits for the next worker that is starting."""


class ActorOptions(TypedDict):
    """Options of an actor, named as Ray does."""

    num_cpus: float
    num_gpus: float
    memory: int
    scheduling_strategy: NotRequired[PlacementGroupSchedulingStrategy]
    """The bundle of the placement group that the actor uses."""
    label_selector: NotRequired[dict[str, str]]
    """Labels of the nodes that the actor may run on; those of a placement group are selected with its bundles."""


class ReplicaPlacement:
    """Reserved resources of one replica.

    Args:
        pool: what each actor needs.
        name: of the replica, its placement group and, as a beginning, its shards in Ray's dashboard.
    """

    def __init__(self, pool: Pool, *, name: str) -> None:
        self.pool = pool
        self.name = name
        self._group: PlacementGroup | None = None
        if pool.n_shards > 1:
            resources = [_worker_resources(pool), *[_model_resources(pool)] * pool.n_shards]
            bundles, labels = [_bundle(entry) for entry in resources], dict(pool.node_labels)
            selectors = [labels] * len(bundles) if labels else None
            self._group = placement_group(bundles, strategy="PACK", name=name, bundle_label_selector=selectors)

    def worker_options(self) -> ActorOptions:
        """Return the options of the worker's actor. If there are shards, they have the model and its resources."""
        if self._group is None:
            options = _model_resources(self.pool)
            return {**options, "label_selector": dict(labels)} if (labels := self.pool.node_labels) else options
        return {**_worker_resources(self.pool), "scheduling_strategy": self._bundle_strategy(WORKER)}

    def shard_options(self, number: int) -> ActorOptions:
        """Return the options of a shard's actor. A single shard is a single actor, as is a worker with the model."""
        if self._group is None:
            return _model_resources(self.pool)
        strategy = self._bundle_strategy(FIRST_SHARD + number)
        return {**_model_resources(self.pool), "scheduling_strategy": strategy}

    def wait_until_reserved(self) -> None:
        """Wait for the resources of a replica of several shards.

        Raises:
            WorkerLostError: the cluster had no room for long.
        """
        if self._group is not None and not self._group.wait(NO_ROOM_TIMEOUT_S):
            raise no_room("the shards", self.pool)

    def release(self) -> None:
        """Return the resources; actors that use them end."""
        if self._group is not None:
            remove_placement_group(self._group)

    def _bundle_strategy(self, bundle: int) -> PlacementGroupSchedulingStrategy:
        return PlacementGroupSchedulingStrategy(self._group, bundle)


def no_room(what: str, pool: Pool) -> WorkerLostError:
    """Return the error after waiting for the resources of a replica."""
    waited, advice = f"{NO_ROOM_TIMEOUT_S / 60:.0f} minutes", "free or add a node, then run the same command again"
    message = f"the cluster has no room for {what}"
    return WorkerLostError(message, waited=waited, needed=format_needs(pool), next=advice)


def format_needs(pool: Pool) -> str:
    """Format the resources that one replica needs."""
    gpus = f", {pool.n_gpus:g} GPU" if pool.n_gpus else ""
    actor = f"{pool.n_cpus:g} CPU{gpus}, {pool.memory_bytes / 2**30:.2f} GiB"
    labels = "".join(f", {label}: {selector}" for label, selector in pool.node_labels.items())
    if pool.n_shards == 1:
        return actor + labels
    return f"{pool.n_shards} x ({actor}) and {pool.coordinator_bytes / 2**30:.2f} GiB for the worker{labels}"


def _model_resources(pool: Pool) -> ActorOptions:
    """Resources of an actor with weights."""
    return {"num_cpus": pool.n_cpus, "num_gpus": pool.n_gpus, "memory": pool.memory_bytes}


def _worker_resources(pool: Pool) -> ActorOptions:
    """Resources of a worker whose weights are in shard actors."""
    return {"num_cpus": 0, "num_gpus": 0, "memory": pool.coordinator_bytes}


def _bundle(resources: ActorOptions) -> dict[str, float]:
    """Convert actor resources to a bundle of a placement group."""
    amounts = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"], "memory": resources["memory"]}
    return {name: amount for name, amount in amounts.items() if amount}


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
            self._placement, store_uri, model=model, n=n_shard_actors, needs=needs, number=number
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
    placement: ReplicaPlacement,
    store_uri: str,
    *,
    model: ModelRef,
    n: int,
    needs: Requirements = NONE,
    number: int = 0,
) -> tuple[ActorHandle, ...]:
    """Start the actors of the shards of a replica.

    Args:
        placement: resources of the actors.
        n: number of actors.
        needs: each actor checks it.
        number: number of the worker that they belong to.
    """
    return tuple(
        actor_class(ShardActor)
        .options(max_restarts=0, name=f"{placement.name}, shard {shard}", **placement.shard_options(shard))
        .remote(store_uri, model, placement.pool, needs=needs, number=number)
        for shard in range(n)
    )


def _workers(replicas: Iterable[ReplicaActors]) -> dict[str, ActorHandle]:
    """Return name -> worker of replicas."""
    return {replica.name: replica._worker for replica in replicas}


class RoomWait:
    """A wait that starts now.

    Args:
        pool: what each worker needs.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._deadline = time.monotonic() + NO_ROOM_TIMEOUT_S

    def check(self) -> None:
        """Log what the run waits for.

        Raises:
            WorkerLostError: it has waited for too long.
        """
        if time.monotonic() >= self._deadline:
            raise no_room("a worker", self.pool)
        needs = format_needs(self.pool)
        logger.warning("the cluster has no room for any worker yet: waiting for a node with %s", needs)
