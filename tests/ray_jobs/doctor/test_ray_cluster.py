"""Ray: versions on nodes, the port for jobs, and addresses that do not answer."""

import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import ray
from ray.exceptions import GetTimeoutError

from ray_jobs.doctor.findings import Level
from ray_jobs.doctor.ray_cluster import examine_ray, local_findings, port_finding, this_versions, version_findings


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_equal_versions_are_fine_and_others_are_named_with_node_and_command() -> None:
    here = this_versions()
    other = {**here, "torch": "1.0", "python": "3.1"}
    findings = list(version_findings(here, {"a": here, "b": other, "c": "no answer"}))
    assert [one.level for one in findings] == [Level.MISSING] * 3 + [Level.OK]
    assert "node b" in findings[0].text
    assert f"torch=={here['torch']}" in findings[1].help
    assert findings[-1].text.startswith("1 of 3")


def test_the_port_for_jobs_is_a_warning_if_nothing_listens(port: int) -> None:
    assert port_finding("127.0.0.1", port).level is Level.OK
    free = socket.create_server(("127.0.0.1", 0))
    number = free.getsockname()[1]
    free.close()
    assert port_finding("127.0.0.1", number).level is Level.WARNING


def test_a_run_on_this_machine_needs_no_cluster() -> None:
    assert [one.level for one in local_findings({})] == [Level.OK]
    assert [one.level for one in local_findings({"RAY_ADDRESS": "1.2.3.4:6379"})] == [Level.WARNING]
    assert all(one.level is Level.OK for one in examine_ray("none"))


def test_a_cluster_that_does_not_answer_is_missing() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    number = free.getsockname()[1]
    free.close()
    finding = examine_ray(f"127.0.0.1:{number}")[-1]
    assert finding.level is Level.MISSING
    assert "ray start" in finding.help


@pytest.mark.parametrize(("address", "host"), [("auto", "10.0.0.1"), ("ray://head:10001", "head"), ("head:1", "head")])
def test_the_live_nodes_of_a_cluster_and_the_port_of_its_head_are_examined(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str
) -> None:
    def task(function: Callable[[], object]) -> SimpleNamespace:
        def options(
            *, num_cpus: int, num_gpus: int, scheduling_strategy: SimpleNamespace, max_retries: int
        ) -> SimpleNamespace:
            assert (num_cpus, num_gpus, max_retries) == (0, 0, 0)
            return SimpleNamespace(remote=lambda: (scheduling_strategy.node_id, function))

        return SimpleNamespace(options=options)

    def get(reference: tuple[str, Callable[[], object]], *, timeout: float) -> object:
        if reference[0] == "b" * 56:
            raise GetTimeoutError("no answer")
        return reference[1]()

    nodes = [{"NodeID": letter * 56, "NodeManagerHostname": letter, "Alive": letter != "c"} for letter in "abc"]
    asked: list[str] = []
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "remote", task)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr("ray_jobs.workers.cluster.connected", lambda _: nullcontext())
    monkeypatch.setattr("ray_jobs.doctor.ray_cluster.connection_problem", lambda name, *_, **__: asked.append(name))
    findings = examine_ray(address)
    assert [one.level for one in findings] == [Level.OK, Level.MISSING, Level.OK, Level.OK]
    assert "node b" in findings[1].text
    assert findings[2].text.startswith("1 of 2 nodes")
    assert asked == [host]
