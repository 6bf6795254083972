"""Nodes of a cluster that do not have the models of a run, with a fake Ray."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError, RayError

from mlprune.errors import BadInputError
from mlprune.plan.node_capacity import Node
from ray_jobs.process.environment import this_processor
from ray_jobs.workers.nodes import node_checks, node_tasks
from ray_jobs.workers.nodes.node_checks import count_processors, require_on_nodes
from ray_jobs.workers.nodes.node_list import ClusterNode
from ray_jobs.workers.nodes.required_files import ModelFiles
from ray_jobs.workers.nodes.requirements import Requirements, problem_here
from tests.ray_jobs.workers.fake_ray import Reference

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
        monkeypatch.setattr(node_checks, "ray", cluster)
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
    monkeypatch.setattr(node_checks, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(BadInputError) as caught:
        check(FakeCluster(a=None, b=SILENT))
    assert caught.value.context == {"nodes": "host-b", "waited": "60 minutes"}
    assert len(caplog.messages) == 1
