"""The cluster files for `ray up`: valid in Ray's schema, with token authentication and a dashboard on loopback."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = ("infra/cluster.yaml", "infra/cluster-aws.yaml")


@pytest.fixture(params=FILES)
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / request.param).read_text(encoding="utf-8"))
    return loaded


def start_commands(cluster: dict[str, Any]) -> list[str]:
    """The commands that start Ray on the head and on workers."""
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    return [one for one in commands if "ray start" in one]


def test_the_file_is_valid_in_rays_schema(cluster: dict[str, Any]) -> None:
    import jsonschema  # noqa: PLC0415 - which Ray brings along
    import ray  # noqa: PLC0415

    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(cluster, schema)


def test_every_node_starts_with_token_authentication_and_has_the_token(cluster: dict[str, Any]) -> None:
    assert len(start_commands(cluster)) == 2
    assert all("RAY_AUTH_MODE=token" in one for one in start_commands(cluster))
    assert [target for target in cluster["file_mounts"] if target.endswith("/.ray/auth_token")]


def test_the_dashboard_is_on_loopback(cluster: dict[str, Any]) -> None:
    (head,) = (one for one in start_commands(cluster) if "--head" in one)
    assert re.findall(r"--dashboard-host=(\S+)", head) == ["127.0.0.1"]


def test_nodes_install_a_version_of_ray_that_the_project_supports(cluster: dict[str, Any]) -> None:
    (install,) = (one for one in cluster["setup_commands"] if "pip install" in one)
    (version,) = re.findall(r"ray\[default\]==(\d+)\.(\d+)\.\d+", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (least,) = (one for one in project["dependencies"] if one.startswith("ray[default]>="))
    assert tuple(map(int, version)) >= tuple(map(int, least.partition(">=")[2].split(".")))


def test_no_cloud_machine_has_a_security_group_made_by_ray() -> None:
    cloud = yaml.safe_load((ROOT / "infra/cluster-aws.yaml").read_text(encoding="utf-8"))
    assert cloud["head_node_type"] in cloud["available_node_types"]
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in cloud["available_node_types"].values())
