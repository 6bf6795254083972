"""Ray placement groups: reserve the resources of a replica's worker and shards together.

If shards asked for resources one by one, two replicas could each get some of them, and neither would ever be complete.
A replica of several shards therefore reserves everything at once, on as few nodes as possible. A replica of one shard
is a single actor and needs no placement group.
"""

from typing import NotRequired, TypedDict

from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from mlprune.errors import WorkerLostError
from mlprune.plan.pool import Pool

NO_ROOM_TIMEOUT_S = 3600.0
"""Time that a run waits without any worker, or a command for its shards; nodes may start, other users' jobs end."""
WORKER, FIRST_SHARD = 0, 1
"""Bundles of a replica's placement group."""


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
        name: name of the placement group in Ray's dashboard.
    """

    def __init__(self, pool: Pool, *, name: str) -> None:
        self._pool = pool
        self._group: PlacementGroup | None = None
        if pool.n_shards > 1:
            resources = [_worker_resources(pool), *[_model_resources(pool)] * pool.n_shards]
            bundles, labels = [_bundle(entry) for entry in resources], dict(pool.node_labels)
            selectors = [labels] * len(bundles) if labels else None
            self._group = placement_group(bundles, strategy="PACK", name=name, bundle_label_selector=selectors)

    def worker_options(self) -> ActorOptions:
        """Return the options of the worker's actor. If there are shards, they have the model and its resources."""
        if self._group is None:
            options = _model_resources(self._pool)
            return {**options, "label_selector": dict(labels)} if (labels := self._pool.node_labels) else options
        return {**_worker_resources(self._pool), "scheduling_strategy": self._bundle_strategy(WORKER)}

    def shard_options(self, number: int) -> ActorOptions:
        """Return the options of a shard's actor. A single shard is a single actor, as is a worker with the model."""
        if self._group is None:
            return _model_resources(self._pool)
        strategy = self._bundle_strategy(FIRST_SHARD + number)
        return {**_model_resources(self._pool), "scheduling_strategy": strategy}

    def wait_until_reserved(self) -> None:
        """Wait for the resources of a replica of several shards.

        Raises:
            WorkerLostError: the cluster had no room for long.
        """
        if self._group is not None and not self._group.wait(NO_ROOM_TIMEOUT_S):
            raise no_room("the shards", self._pool)

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
