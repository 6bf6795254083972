"""Where a replica runs on a cluster: its worker and its shards get their places together, or none of them does.

Shards that ask one by one could take a place each for two replicas, neither of which is ever whole. So a replica of
several shards reserves all of its places at once, near each other where there is room; until it has them it holds
none. A replica of one shard is one actor and needs no such thing.
"""

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from mlprune.errors import WorkerLostError
from mlprune.plan.pool import Pool

LOOK_EVERY_S = 10.0
"""How often shards that are slow to start are asked whether they have lost their place."""
WORKER, FIRST_SHARD = 0, 1
"""Bundles of a replica of several shards."""


class Place:
    """What one replica has reserved.

    Args:
        pool: says what its actors ask for.
        name: as the dashboard shows it.
    """

    def __init__(self, pool: Pool, *, name: str) -> None:
        self._pool = pool
        self._group: PlacementGroup | None = None
        if pool.n_shards > 1:
            asked = [_beside(pool), *[_of_weights(pool)] * pool.n_shards]
            self._group = placement_group([_bundle(one) for one in asked], strategy="PACK", name=name)

    def of_worker(self) -> dict[str, Any]:
        """Options of the worker's actor; with shards, these hold the resources and the worker only passes on."""
        return _of_weights(self._pool) if self._group is None else {**_beside(self._pool), **self._at(WORKER)}

    def of_shard(self, number: int) -> dict[str, Any]:
        """Options of a shard's actor."""
        return {**_of_weights(self._pool), **self._at(FIRST_SHARD + number)}

    def wait(self, shards: Sequence[Any]) -> None:
        """Wait until shards have started, however long they load; not for a place that went with a node.

        Raises:
            WorkerLostError: a node that had part of the replica is gone, and no other has room for it.
        """
        loading = [shard.__ray_ready__.remote() for shard in shards]
        while loading:
            _, loading = ray.wait(loading, num_returns=len(loading), timeout=LOOK_EVERY_S)
            if loading and self._group is not None and not self._group.wait(LOOK_EVERY_S):
                raise WorkerLostError("shards have lost their place", shards=len(loading), asked=in_words(self._pool))

    def release(self) -> None:
        """Give it back, and end whoever runs there."""
        if self._group is not None:
            remove_placement_group(self._group)

    def _at(self, bundle: int) -> dict[str, Any]:
        return {"scheduling_strategy": PlacementGroupSchedulingStrategy(self._group, bundle)}


def in_words(pool: Pool) -> str:
    """What one replica asks for."""
    gpus = f", {pool.n_gpus:g} GPU" if pool.n_gpus else ""
    actor = f"{pool.n_cpus:g} CPU{gpus}, {pool.memory_bytes / 2**30:.2f} GiB"
    if pool.n_shards == 1:
        return actor
    return f"{pool.n_shards} x ({actor}) and {pool.beside_bytes / 2**30:.2f} GiB beside them"


def _of_weights(pool: Pool) -> dict[str, Any]:
    """What an actor that holds weights asks for."""
    return {"num_cpus": pool.n_cpus, "num_gpus": pool.n_gpus, "memory": pool.memory_bytes}


def _beside(pool: Pool) -> dict[str, Any]:
    """What a worker asks for whose weights are elsewhere."""
    return {"num_cpus": 0, "num_gpus": 0, "memory": pool.beside_bytes}


def _bundle(options: dict[str, Any]) -> dict[str, float]:
    """Options of an actor as what is reserved for it."""
    named = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], "memory": options["memory"]}
    return {name: amount for name, amount in named.items() if amount}
