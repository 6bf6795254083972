"""The Kubernetes manifests: one image, one version of Ray, the token on, nothing public, pods without privileges."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "kuberay"
PART_OF = {"app.kubernetes.io/part-of": "mlprune"}
API_VERSIONS = {
    "RayCluster": "ray.io/v1",
    "RayJob": "ray.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PersistentVolumeClaim": "v1",
}


def documents() -> Iterator[dict[str, Any]]:
    """All objects of all manifests."""
    for path in sorted(FOLDER.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def of_kind(kind: str) -> dict[str, Any]:
    """The object of a kind."""
    (found,) = (one for one in documents() if one["kind"] == kind)
    return found


def clusters() -> list[dict[str, Any]]:
    """The Ray clusters that are described: one that stays, one for a job."""
    return [of_kind("RayCluster")["spec"], of_kind("RayJob")["spec"]["rayClusterSpec"]]


def pods() -> list[dict[str, Any]]:
    """All pod templates."""
    groups = [group for one in clusters() for group in (one["headGroupSpec"], *one["workerGroupSpecs"])]
    return [group["template"] for group in groups] + [of_kind("RayJob")["spec"]["submitterPodTemplate"]]


def containers() -> list[dict[str, Any]]:
    """All containers of every pod."""
    return [container for pod in pods() for container in pod["spec"]["containers"]]


def variables(container: dict[str, Any]) -> dict[str, Any]:
    """Environment variables of a container -> value, or the source of the value."""
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container.get("env", ())}


def test_every_object_is_of_a_known_kind_and_version() -> None:
    found = [(one["kind"], one["apiVersion"]) for one in documents()]
    assert sorted(found) == sorted(API_VERSIONS.items())


def test_token_authentication_is_on_and_no_manifest_contains_a_token() -> None:
    permanent, of_job = (one["authOptions"] for one in clusters())
    assert (permanent, of_job) == ({"mode": "token"}, {"mode": "token", "secretName": "mlprune-token"})
    for container in containers():
        values = variables(container)
        secrets = {name: values[name] for name in values if "TOKEN" in name or "SECRET" in name or "KEY" in name}
        assert all("secretKeyRef" in source for source in secrets.values())


def test_nothing_is_public() -> None:
    heads = [one["headGroupSpec"] for one in clusters()]
    assert [(one["serviceType"], one["enableIngress"]) for one in heads] == [("ClusterIP", False)] * 2
    assert not {one["kind"] for one in documents()} & {"Service", "Ingress", "Route"}


def test_the_network_policy_admits_only_our_pods_and_the_operator_and_covers_every_pod() -> None:
    policy = of_kind("NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"] == PART_OF
    assert policy["policyTypes"] == ["Ingress"]
    assert all(sender["podSelector"]["matchLabels"] for rule in policy["ingress"] for sender in rule["from"])
    assert all(pod["metadata"]["labels"] == PART_OF for pod in pods())


def test_every_pod_runs_without_privileges_and_without_the_clusters_credentials() -> None:
    for pod in pods():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.thorough("runs recipes of its own")
def test_every_container_has_a_memory_request_and_limit() -> None:
    assert all(container["resources"]["requests"]["memory"] for container in containers())
    assert all(container["resources"]["limits"]["memory"] for container in containers())
    assert all(container["resources"]["requests"]["cpu"] for container in containers())


def test_all_pods_run_the_same_image_and_clusters_the_ray_it_is_built_with() -> None:
    assert len({container["image"] for container in containers() if container["name"] != "collector"}) == 1
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text(encoding="utf-8")
    assert [one["rayVersion"] for one in clusters()] == [dockerfile.partition("RAY_VERSION=")[2].split()[0]] * 2


def test_volumes_that_containers_mount_exist() -> None:
    claimed = of_kind("PersistentVolumeClaim")["metadata"]["name"]
    for pod in pods():
        volumes = {one["name"]: one for one in pod["spec"].get("volumes", ())}
        mounted = {one["name"] for container in pod["spec"]["containers"] for one in container.get("volumeMounts", ())}
        assert mounted == volumes.keys()
        claims = {
            one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one
        }
        assert claims <= {claimed}


def test_the_entrypoint_is_a_command_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray_jobs.cli.application import app  # noqa: PLC0415
    from ray_jobs.driver import run_recipe as module  # noqa: PLC0415

    asked: list[tuple[Any, ...]] = []

    def run_recipe(recipe: Path, store: str, *, address: str, **_: Any) -> module.RunSummary:
        asked.append((str(recipe), store, address))
        return module.RunSummary(0, 0, 0, 0)

    monkeypatch.setattr(module, "run_recipe", run_recipe)
    name, *arguments = shlex.split(of_kind("RayJob")["spec"]["entrypoint"])
    assert name == "mlprune"
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (((recipe, store, address)),) = asked
    head = clusters()[1]["headGroupSpec"]["template"]["spec"]["containers"][0]
    mounts = [one["mountPath"] for one in head["volumeMounts"]]
    assert address == "auto"
    assert all(any(path.startswith(f"{mount}/") for mount in mounts) for path in (recipe, store))


def groups_of_job() -> list[dict[str, Any]]:
    """The head and the groups of workers of the job's cluster."""
    cluster = clusters()[1]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.mark.thorough("runs recipes of its own")
def test_a_collector_in_every_pod_of_the_job_reads_its_logs_and_events() -> None:
    for group, role in zip(groups_of_job(), ("Head", "Worker", "Worker"), strict=True):
        ray, collector = group["template"]["spec"]["containers"]
        settings = variables(collector)
        (mount,) = collector["volumeMounts"]
        assert mount in ray["volumeMounts"]
        assert settings["RAY_TMP_ROOT"] == mount["mountPath"]
        assert settings["RAY_ROLE"] == role
        exported = variables(ray)["RAY_DASHBOARD_AGGREGATOR_AGENT_EVENTS_EXPORT_ADDR"]
        assert f":{settings['EVENTS_PORT']}/" in exported
        assert settings["RAY_AUTH_TOKEN"]["secretKeyRef"]["name"] == clusters()[1]["authOptions"]["secretName"]


def test_the_driver_has_a_node_of_its_own() -> None:
    needed = json.loads(of_kind("RayJob")["spec"]["entrypointResources"])
    offers = [json.loads(json.loads(group["rayStartParams"].get("resources", '"{}"'))) for group in groups_of_job()]
    assert [
        group.get("groupName") for group, offer in zip(groups_of_job(), offers, strict=True) if offer == needed
    ] == ["driver"]
    assert [group["rayStartParams"].get("num-cpus") for group in groups_of_job()] == ["0", "0", None]


def test_workers_have_time_to_finish_their_job_when_their_pod_is_deleted() -> None:
    for cluster in clusters():
        spec = cluster["workerGroupSpecs"][-1]["template"]["spec"]
        drain_s = float(variables(spec["containers"][0])["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert 60 < drain_s < spec["terminationGracePeriodSeconds"]
