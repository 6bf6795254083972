"""Labels of nodes against selectors."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError, RayError

from mlprune.errors import BadInputError
from mlprune.plan.resources.node_capacity import Gpu, Node
from ray_jobs.process.environment import this_processor
from ray_jobs.workers import cluster as node_tasks
from ray_jobs.workers import cluster_nodes as module
from ray_jobs.workers.cluster_nodes import ClusterNode, NodeList, count_processors, has_labels, require_on_nodes
from ray_jobs.workers.required_files import ModelFiles, Requirements, problem_here
from tests.ray_jobs.workers.fake_ray import Reference

LABELS = {"ray.io/accelerator-type": "H100", "zone": "a"}


@pytest.mark.parametrize(
    ("selector", "is_match"),
    [
        ({}, True),
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"zone": "!b"}, True),
        ({"zone": "!a"}, False),
        ({"ray.io/accelerator-type": "in(A100, H100)", "zone": "a"}, True),
        ({"ray.io/accelerator-type": "in(A100,H200)"}, False),
        ({"ray.io/accelerator-type": "!in(A100, H200)"}, True),
        ({"pool": "spot"}, False),
        ({"pool": "!spot"}, True),
    ],
)
def test_a_node_matches_if_all_of_its_labels_do(selector: dict[str, str], is_match: bool) -> None:
    assert has_labels(LABELS, selector) == is_match


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
    with pytest.raises(BadInputError) as caught:
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


LOST = object()
"""The result of a task whose node was lost, or that failed."""
KILLED = object()
"""The result of a task that Ray killed for its memory."""
SILENT = object()
"""The result of a task that does not end."""
PROBLEM = ("a node does not have a file of a model", {"path": "/models/xglm/config.json", "reason": "it is missing"})


class FakeCluster:
    """Nodes by name -> what the check answers there."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.alive = set(answers)

    def remote(self, function: object) -> Any:
        assert function in (problem_here, this_processor)
        return SimpleNamespace(options=self._options)

    def _options(self, *, scheduling_strategy: str, **_: object) -> Any:
        self.asked.append(scheduling_strategy)
        return SimpleNamespace(remote=lambda *_: Reference(self.answers[scheduling_strategy]))

    def get(self, reference: Reference) -> Any:
        if reference.value is LOST:
            raise RayError("No module named 'mlprune'")
        if reference.value is KILLED:
            raise OutOfMemoryError("Task was killed due to the node running low on memory.")
        return reference.value

    def wait(self, tasks: list[Reference], **_: object) -> tuple[list[Reference], list[Reference]]:
        silent = [task for task in tasks if task.value is SILENT]
        return [task for task in tasks if task not in silent], silent

    def nodes(self) -> list[dict[str, object]]:
        return [{"NodeID": name, "Alive": name in self.alive} for name in self.answers]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that connects to a fake cluster and lists its nodes."""

    def nodes_of(cluster: FakeCluster) -> list[ClusterNode]:
        monkeypatch.setattr(module, "ray", cluster)
        monkeypatch.setattr(node_tasks, "ray", cluster)
        monkeypatch.setattr(node_tasks, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
        nodes = [ClusterNode(name, f"host-{name}", Node(4.0, 2**30)) for name in cluster.answers]
        return [
            *nodes,
            ClusterNode("head", "host-head", Node(0.0, 2**30)),
            ClusterNode("leaving", "host-leaving", Node(4.0, 2**30), 30.0),
        ]

    return nodes_of


@pytest.fixture
def check(connect: Any) -> Any:
    """A function that checks the nodes of a fake cluster."""
    requirements = Requirements((ModelFiles("/models/xglm", {}, {}),))
    return lambda cluster: require_on_nodes(requirements, connect(cluster))


def test_the_processors_of_nodes_that_answer_are_counted(connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster(a="EPYC with AVX512", b="Xeon with AVX2", c="EPYC with AVX512", d=LOST, e=SILENT)
    assert count_processors(connect(cluster)) == {"EPYC with AVX512": 2, "Xeon with AVX2": 1}
    assert [host for host in cluster.answers if f"host-{host}" in caplog.text] == ["d", "e"]
    assert count_processors([]) == {}


def test_every_node_that_runs_jobs_and_stays_is_asked(check: Any) -> None:
    cluster = FakeCluster(a=None, b=None)
    check(cluster)
    assert cluster.asked == ["a", "b"]


def test_a_node_without_a_file_is_named(check: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        check(FakeCluster(a=None, b=PROBLEM))
    assert caught.value.context == {**PROBLEM[1], "node": "host-b"}


def test_a_node_that_cannot_check_is_named_unless_it_has_left(check: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster(a=None, b=LOST)
    with pytest.raises(BadInputError) as caught:
        check(cluster)
    assert (caught.value.context["node"], caught.value.context["reason"]) == ("host-b", "No module named 'mlprune'")
    cluster.alive = {"a"}
    check(cluster)
    assert "host-b left" in caplog.text


def test_a_check_that_was_killed_for_its_memory_says_what_to_do(check: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        check(FakeCluster(a=None, b=KILLED))
    assert caught.value.context["node"] == "host-b"
    assert "memory" in str(caught.value.context["next"])


def test_nodes_that_do_not_answer_are_logged_and_finally_named(
    check: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 60.0, 3600.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(BadInputError) as caught:
        check(FakeCluster(a=None, b=SILENT))
    assert caught.value.context == {"nodes": "host-b", "waited": "60 minutes"}
    assert len(caplog.messages) == 1
