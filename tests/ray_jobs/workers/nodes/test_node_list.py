"""Nodes of a cluster with a fake Ray: labels, nodes that are about to leave, and measured accelerators."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from mlprune.errors import BadInputError
from mlprune.plan.node_capacity import Gpu
from ray_jobs.workers.nodes import node_list as module
from ray_jobs.workers.nodes.node_list import NodeList


def ray_node(name: str, *, is_alive: bool = True, labels: dict[str, str] | None = None, **resources: float) -> Any:
    resources = {"CPU": 4.0, "memory": 2.0**30, **resources}
    identity = {"NodeID": name, "NodeManagerHostname": f"host-{name}", "Labels": labels or {}}
    return {**identity, "Alive": is_alive, "Resources": resources}


class FakeRay:
    """The nodes of a cluster and the times at which they leave."""

    def __init__(self, *nodes: Any) -> None:
        self.all = list(nodes)
        self.deadlines_ms: dict[str, int] = {}
        state = SimpleNamespace(get_draining_nodes=lambda: self.deadlines_ms)
        self._private = SimpleNamespace(state=SimpleNamespace(state=state))

    def nodes(self) -> list[Any]:
        return self.all


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay(ray_node("a", labels={"zone": "x"}), ray_node("dead", is_alive=False), ray_node("b", GPU=1.0))
    monkeypatch.setattr(module, "ray", made)
    return made


def test_nodes_are_listed_with_the_time_until_they_leave_and_measured_once(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(node_id: str, n_gpus: int) -> tuple[Gpu, ...]:
        measured.append(node_id)
        return (Gpu(2**34),) * n_gpus

    monkeypatch.setattr(module, "measured_gpus", measure)
    fake.deadlines_ms = {"b": int(1000 * (time.time() + 30))}
    list_nodes = NodeList()
    first, second = list_nodes()
    assert (first.node_id, first.host, first.leaves_in_s) == ("a", "host-a", None)
    assert second.leaves_in_s == pytest.approx(30, abs=5)
    assert second.resources.gpu_bytes == 2**34
    fake.deadlines_ms = {"b": 0}
    assert [one.leaves_in_s for one in list_nodes()] == [None, float("inf")]
    assert measured == ["b"]


def test_only_nodes_with_the_labels_are_listed_and_at_least_one_is_required(fake: FakeRay) -> None:
    assert [one.node_id for one in NodeList({"zone": "x"}).required()] == ["a"]
    with pytest.raises(BadInputError, match="node_labels") as caught:
        NodeList({"zone": "y"}).required()
    assert caught.value.context["got"] == [{"zone": "x"}, {}]


def test_a_ray_that_does_not_say_which_nodes_leave_is_reported_once(
    fake: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    del fake._private.state.state.get_draining_nodes
    fake.all = fake.all[:1]
    list_nodes = NodeList()
    assert [one.leaves_in_s for one in (*list_nodes(), *list_nodes())] == [None, None]
    assert len(caplog.messages) == 1
