"""Examination of Ray: the installed version, and the versions on the nodes and the ports of a cluster."""

import os
import platform
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from mlprune.errors import BadInputError
from mlprune.network import connection_problem
from ray_jobs.doctor.findings import Finding, missing, ok, warning
from ray_jobs.process.installed import installed_version

SUBJECT = "ray"
JOB_PORT = 8265
"""Port of the dashboard, to which `ray job submit` sends jobs."""
CONNECT_TIMEOUT_S = 3.0
NODE_TIMEOUT_S = 60.0
COMPARED = ("python", "ray", "torch", "transformers", "mlprune")
"""What has to be equal on all nodes: results are equal only then, and Ray refuses other versions of itself."""

Versions = Mapping[str, str]


def examine_ray(address: str) -> list[Finding]:
    """Examine Ray on this machine, or the cluster at an address."""
    installed = installed_version("ray")
    if installed is None:
        return [missing(SUBJECT, "Ray is not installed", "pip install 'ray[default]', or use --address none")]
    findings = [ok(SUBJECT, f"Ray {installed}")]
    if address == "none":
        return findings
    if address == "local":
        return [*findings, *local_findings(os.environ)]
    return [*findings, *_cluster_findings(address)]


def local_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the environment of a Ray that a run starts on this machine."""
    if address := environment.get("RAY_ADDRESS"):
        text = f"RAY_ADDRESS={address} is ignored: a run starts a Ray of its own"
        yield warning(SUBJECT, text, f"--address {address} joins that cluster")
    else:
        yield ok(SUBJECT, "a run starts a Ray of its own on this machine")


def _cluster_findings(address: str) -> Iterator[Finding]:
    from ray_jobs.workers import cluster  # noqa: PLC0415 - imports Ray

    try:
        with cluster.connected(address):
            yield from _connected_findings(address)
    except BadInputError as err:
        yield missing(SUBJECT, str(err), str(err.context.get("next", "ray start --head")))


def _connected_findings(address: str) -> Iterator[Finding]:
    import ray  # noqa: PLC0415

    yield from version_findings(this_versions(), _versions_on_nodes())
    host = urlsplit(address if "://" in address else f"//{address}").hostname
    if host is None or address == "auto":
        host = ray.get_runtime_context().gcs_address.rpartition(":")[0]
    yield port_finding(host, JOB_PORT)


def _versions_on_nodes() -> dict[str, Versions | str]:
    """Return host -> versions on the node, or why they are not known."""
    import ray  # noqa: PLC0415
    from ray.exceptions import RayError  # noqa: PLC0415

    from ray_jobs.workers.cluster import reason_of_failure, start_on_node  # noqa: PLC0415

    tasks = {
        f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})": start_on_node(this_versions, node["NodeID"])
        for node in ray.nodes()
        if node["Alive"]
    }
    found: dict[str, Versions | str] = {}
    for host, task in tasks.items():
        try:
            found[host] = ray.get(task, timeout=NODE_TIMEOUT_S)
        except RayError as err:
            found[host] = reason_of_failure(err)
    return found


def this_versions() -> Versions:
    """Return the versions in this process: of Python and of the libraries that are compared."""
    return {"python": platform.python_version()} | {
        name: installed_version(name) or "not installed" for name in COMPARED[1:]
    }


def version_findings(here: Versions, nodes: Mapping[str, Versions | str]) -> Iterator[Finding]:
    """Compare the versions on the nodes of a cluster with those of this process.

    Args:
        nodes: host -> its versions, or why they are not known.
    """
    n_equal = 0
    for host, versions in nodes.items():
        if isinstance(versions, str):
            yield missing(SUBJECT, f"node {host} does not answer: {versions}", "ray status shows the nodes")
            continue
        differing = [name for name in COMPARED if versions.get(name) != here.get(name)]
        for name in differing:
            text = f"node {host} has {name} {versions.get(name)}, this process {here.get(name)}"
            package = "another Python" if name == "python" else f"pip install '{name}=={here.get(name)}' on the node"
            yield missing(SUBJECT, text, package)
        n_equal += not differing
    yield ok(SUBJECT, f"{n_equal} of {len(nodes)} nodes have the versions of this process")


def port_finding(host: str, port: int) -> Finding:
    """Judge whether the port for submitted jobs accepts connections."""
    problem = connection_problem(host, port, timeout_s=CONNECT_TIMEOUT_S)
    if problem is None:
        return ok(SUBJECT, f"jobs can be submitted to http://{host}:{port}")
    text = f"no jobs can be submitted to {host}:{port}: {problem}"
    return warning(SUBJECT, text, f"ray start --head --dashboard-host 127.0.0.1, or an SSH tunnel of port {port}")
