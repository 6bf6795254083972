"""Where a soak runs its recipe, and whom it may kill there."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import psutil

from tests.ray_cluster import Cluster, Node

N_JOINED = 2
"""Nodes of the cluster beside the head; each has one CPU."""

Hit = Callable[[], None]
"""Kills somebody."""


class Here:
    """One process without Ray: there is nobody to hit but the driver."""

    n_shards: tuple[int, ...] = (1,)
    """Of the stores, in turn."""
    address = "none"
    environment: Mapping[str, str] = os.environ

    def victims(self, driver: psutil.Process) -> dict[str, list[Hit]]:
        """Kind of process -> how to kill each of those that live now."""
        return {"driver": [driver.kill]}


class OnCluster(Here):
    """A Ray cluster whose head stays and whose other nodes may be hit."""

    n_shards = (2, 1)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.address = cluster.address
        self.environment = cluster.environment

    def victims(self, driver: psutil.Process) -> dict[str, list[Hit]]:
        """Also the actors of its run, and the nodes that joined the head."""
        _, *joined = self._cluster.nodes
        return {
            **super().victims(driver),
            "worker": [one.kill for one in self._cluster.processes("ray::WorkerActor")],
            "shard": [one.kill for one in self._cluster.processes("ray::ShardActor")],
            "raylet": [partial(self._lose, one) for one in joined],
        }

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
