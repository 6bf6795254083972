"""The number of replicas of a run while nodes join and leave, with a list of nodes that the test changes."""

import logging
from dataclasses import replace

import pytest

from mlprune.plan.resources.node_capacity import Gpu, Node, Pool
from ray_jobs.workers import cluster_nodes as module
from ray_jobs.workers.cluster_nodes import ClusterNode, Scaling, n_fitting
from tests.ray_jobs.workers.pools import ONE_SHARD, TWO_SHARDS

TWO_CPUS = Node(2.0, 8 * 2**30)


def node(name: str, *, leaves_in_s: float | None = None, resources: Node = TWO_CPUS) -> ClusterNode:
    return ClusterNode(name, f"host-{name}", resources, leaves_in_s)


class Cluster:
    """Nodes by name."""

    def __init__(self, *nodes: ClusterNode) -> None:
        self.nodes = {one.node_id: one for one in nodes}
        self.error: Exception | None = None

    def list_nodes(self) -> list[ClusterNode]:
        if self.error is not None:
            raise self.error
        return list(self.nodes.values())

    def scaling(self, pool: Pool, *, is_fixed: bool = False) -> Scaling:
        return Scaling(pool, self.list_nodes, is_fixed=is_fixed)

    def set(self, *nodes: ClusterNode) -> None:
        self.nodes |= {one.node_id: one for one in nodes}


@pytest.fixture(autouse=True)
def _poll_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 0.0)


@pytest.mark.parametrize(("pool", "n"), [(ONE_SHARD, 3), (TWO_SHARDS, 1), (replace(ONE_SHARD, n_cpus=0.5), 6)])
def test_replicas_fit_on_nodes_with_their_shards_and_the_memory_of_their_workers(pool: Pool, n: int) -> None:
    assert n_fitting(pool, [Node(1.0, 4 * 2**30), TWO_CPUS, Node(0.0, 2**33)]) == n


def test_replicas_are_added_for_a_node_that_joins_and_the_change_is_logged_and_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Cluster(node("a"))
    scaling = cluster.scaling(replace(ONE_SHARD, n_workers=2))
    assert scaling.usable_nodes() == {"a"}
    assert (scaling.added(), scaling.take_changes()) == ([], [])
    cluster.set(node("b"))
    with caplog.at_level(logging.WARNING):
        assert scaling.usable_nodes() == {"a", "b"}
        assert scaling.added() == [2, 3]
    changes = scaling.take_changes()
    assert [change.n_replicas for change in changes] == [2, 4]
    assert [line.partition(";")[0] for line in caplog.messages] == [change.reason for change in changes]
    assert "host-b" in changes[0].reason
    assert (scaling.usable_nodes(), scaling.added(), scaling.take_changes()) == ({"a", "b"}, [], [])


def test_a_run_that_was_planned_with_fewer_replicas_than_fit_gets_those_that_fit_on_the_new_node() -> None:
    cluster = Cluster(node("a"))
    scaling = cluster.scaling(ONE_SHARD)
    cluster.set(node("b"))
    scaling.usable_nodes()
    assert scaling.added() == [1, 2]


def test_the_replicas_of_a_leaving_node_are_started_again_only_up_to_the_planned_number() -> None:
    cluster = Cluster(node("a"), node("b"))
    scaling = cluster.scaling(replace(ONE_SHARD, n_workers=4))
    cluster.set(node("c"))
    scaling.usable_nodes()
    assert scaling.added() == [4, 5]
    cluster.set(node("b", leaves_in_s=30.0))
    assert scaling.usable_nodes() == {"a", "c"}
    assert [scaling.keeps(number) for number in (2, 3)] == [False, False]
    cluster.set(node("c", leaves_in_s=float("inf")))
    assert scaling.usable_nodes() == {"a"}
    assert [scaling.keeps(number) for number in (4, 5)] == [True, True], "the run was planned with four"
    reasons = [change.reason for change in scaling.take_changes()]
    assert any("host-b is about to leave in 30 s" in reason for reason in reasons)
    assert any("host-c is about to leave:" in reason for reason in reasons)
    del cluster.nodes["c"]
    scaling.usable_nodes()
    assert [change.reason for change in scaling.take_changes()] == ["node host-c left"]


def test_no_replica_is_added_if_the_recipe_sets_their_number_or_the_accelerators_of_a_node_are_smaller() -> None:
    cluster = Cluster(node("a"))
    fixed = cluster.scaling(replace(ONE_SHARD, n_workers=2), is_fixed=True)
    cluster.set(node("b"))
    fixed.usable_nodes()
    assert fixed.added() == []

    large, small = (replace(TWO_CPUS, gpus=(Gpu(gib * 2**30),)) for gib in (80, 24))
    cluster = Cluster(node("a", resources=large))
    on_gpus = cluster.scaling(replace(ONE_SHARD, n_gpus=1.0))
    cluster.set(node("b", resources=small))
    on_gpus.usable_nodes()
    assert on_gpus.added() == []
    cluster.set(node("c", resources=large))
    on_gpus.usable_nodes()
    assert on_gpus.added() == [1]


def test_nothing_changes_while_the_nodes_cannot_be_listed() -> None:
    cluster = Cluster(node("a"))
    scaling = cluster.scaling(ONE_SHARD)
    cluster.error = ConnectionError("the head does not answer")
    assert (scaling.usable_nodes(), scaling.take_changes()) == (None, [])


def test_the_nodes_are_listed_only_at_intervals_and_never_on_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL_S", 60.0)
    scaling = Cluster(node("a")).scaling(ONE_SHARD)
    assert scaling.usable_nodes() is None
    assert scaling.interval_s is not None
    assert 50 < scaling.interval_s <= 60
    assert (Scaling(ONE_SHARD).usable_nodes(), Scaling(ONE_SHARD).interval_s) == (None, None)
