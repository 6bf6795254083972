"""Where a soak runs its recipe, and whom it may kill there."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import psutil

from tests.ray_cluster import Cluster, Node

N_JOINED = 2
"""Nodes of the cluster beside the head; each has one CPU."""

ACTORS = {"worker": "WorkerActor", "shard": "ShardActor"}
"""Kind of process -> the class that its title names."""

Hit = Callable[[], None]
"""Kills somebody."""


class Here:
    """One process without Ray: there is nobody to hit but the driver."""

    n_shards: tuple[int, ...] = (1,)
    """Of the stores, in turn."""
    address = "none"
    environment: Mapping[str, str] = os.environ

    def kinds(self, n_shards: int) -> list[str]:
        """Kinds of processes that a run of so many shards has."""
        return ["driver"]

    def victims(self, kind: str, driver: psutil.Process) -> list[Hit]:
        """How to kill each of the processes of a kind that live now."""
        return [driver.kill] if kind == "driver" else []


class OnCluster(Here):
    """A Ray cluster whose head stays and whose other nodes may be hit."""

    n_shards = (2, 1)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.address = cluster.address
        self.environment = cluster.environment

    def kinds(self, n_shards: int) -> list[str]:
        """Also the actors of a run, and the nodes that joined the head."""
        return ["driver", "worker", "raylet", *(["shard"] if n_shards > 1 else [])]

    def victims(self, kind: str, driver: psutil.Process) -> list[Hit]:
        """See `Here.victims`."""
        if kind == "raylet":
            _, *joined = self._cluster.nodes
            return [partial(self._lose, one) for one in joined]
        if kind in ACTORS:
            return [one.kill for one in self._cluster.processes(f"ray::{ACTORS[kind]}")]
        return super().victims(kind, driver)

    def _lose(self, node: Node) -> None:
        """Kill a raylet; a new node takes the place of its node."""
        node.kill_raylet()
        self._cluster.remove_node(node)
        self._cluster.add_node()


@contextmanager
def place(where: str) -> Iterator[Here]:
    """Where the runs are."""
    if where == "here":
        yield Here()
        return
    cluster = Cluster()
    try:
        cluster.start()
        for _ in range(N_JOINED):
            cluster.add_node()
        yield OnCluster(cluster)
    finally:
        cluster.close()
