"""Ray: versions on nodes, the port for jobs, and addresses that do not answer."""

import socket
from collections.abc import Iterator

import pytest

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
