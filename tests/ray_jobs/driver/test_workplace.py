"""Machines of a run on a cluster, with a fake Ray."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ray_jobs.driver.workplace import machines
from ray_jobs.workers import cluster
from ray_jobs.workers.nodes import node_list


def ray_node(n_cpus: float, *, zone: str = "x", is_alive: bool = True) -> dict[str, object]:
    identity = {"NodeID": "abc", "NodeManagerHostname": "host", "Labels": {"zone": zone}, "Alive": is_alive}
    return {**identity, "Resources": {"CPU": n_cpus, "memory": 1.0, "node:127.0.0.1": 1.0}}


def test_the_live_nodes_of_a_running_cluster_are_listed_while_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    @contextmanager
    def connected(address: str) -> Iterator[None]:
        events.append(address)
        yield
        events.append("closed")

    def ray_nodes() -> list[dict[str, object]]:
        events.append("listed")
        return [ray_node(4.0), ray_node(8.0, is_alive=False), ray_node(16.0, zone="y")]

    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(node_list.ray, "nodes", ray_nodes)
    with machines("ray://head:10001", {"zone": "x"}) as available:
        assert [node.n_cpus for node in available.nodes] == [4.0]
        assert available.node_list is not None
    assert events == ["ray://head:10001", "listed", "closed"]
