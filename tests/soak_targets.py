"""Where a soak test runs its recipe, and the processes that it may kill there."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import psutil

from tests.ray_cluster import Cluster, Node

N_JOINED = 2
"""Nodes of the cluster in addition to the head; each has one CPU."""

ACTORS = {"worker": "WorkerActor", "shard": "ShardActor"}
"""Kind of process -> class name in its title."""

Hit = Callable[[], None]
"""A function that kills a process."""


class Here:
    """One process without Ray: only the driver can be killed."""

    n_shards: tuple[int, ...] = (1,)
    """Shards of the stores, in turn."""
    address = "none"
    environment: Mapping[str, str] = os.environ

    def kinds(self, n_shards: int) -> list[str]:
        """Kinds of processes of a run with a number of shards."""
        return ["driver"]

    def targets(self, kind: str, driver: psutil.Process) -> list[Hit]:
        """Return a function per live process of a kind that kills it."""
        return [driver.kill] if kind == "driver" else []


class OnCluster(Here):
    """A Ray cluster whose head survives and whose other nodes may be killed."""

    n_shards = (2, 1)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.address = cluster.address
        self.environment = cluster.environment

    def kinds(self, n_shards: int) -> list[str]:
        """Include the actors of a run and the nodes that joined the head."""
        return ["driver", "worker", "raylet", *(["shard"] if n_shards > 1 else [])]

    def targets(self, kind: str, driver: psutil.Process) -> list[Hit]:
        """See `Here.targets`."""
        if kind == "raylet":
            _, *joined = self._cluster.nodes
            return [partial(self._replace, node) for node in joined]
        if kind in ACTORS:
            return [process.kill for process in self._cluster.processes(f"ray::{ACTORS[kind]}")]
        return super().targets(kind, driver)

    def _replace(self, node: Node) -> None:
        """Kill a raylet and start a new node instead."""
        node.kill_raylet()
        self._cluster.remove_node(node)
        self._cluster.add_node()


@contextmanager
def place(where: str) -> Iterator[Here]:
    """Open the place where runs happen: one process or a cluster."""
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
