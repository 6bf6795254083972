"""Cluster files, Dockerfile and Grafana dashboard: valid, with token authentication, and as the code has them."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ray_jobs.workers.run_metrics import METRICS, RUN_TAGS

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


@pytest.mark.thorough("runs recipes of its own")
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


def test_no_cloud_machine_has_a_security_group_made_by_ray() -> None:
    cloud = yaml.safe_load((ROOT / "infra/cluster-aws.yaml").read_text(encoding="utf-8"))
    assert cloud["head_node_type"] in cloud["available_node_types"]
    assert all(kind["node_config"]["SecurityGroupIds"] for kind in cloud["available_node_types"].values())


DOCKERFILE = ROOT / "infra" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments), without comments, with continued lines joined."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def copied() -> list[str]:
    """Paths copied from the repository."""
    copies = [shlex.split(arguments) for name, arguments in instructions() if name == "COPY"]
    return [source for words in copies if not words[0].startswith("--from") for source in words[:-1]]


def test_the_copied_paths_exist_and_are_those_of_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(copied()) == {*packages, "pyproject.toml", project["project"]["readme"], "LICENSE"}
    assert all((ROOT / source).exists() for source in copied())


def test_the_build_context_has_exactly_the_copied_paths() -> None:
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())


def test_the_image_runs_as_a_numeric_user_other_than_root() -> None:
    users = [arguments for name, arguments in instructions() if name == "USER"]
    assert users == ["1000"]
    last_of_root = max(i for i, (name, _) in enumerate(instructions()) if name == "RUN")
    assert instructions().index(("USER", "1000")) > last_of_root


def test_ray_requires_a_token_and_is_pinned() -> None:
    environment = " ".join(arguments for name, arguments in instructions() if name == "ENV")
    assert "RAY_AUTH_MODE=token" in environment
    assert not re.search(r"RAY_AUTH_TOKEN(_PATH)?=", environment)
    assert re.search(r'"ray\[default\]==\$\{RAY_VERSION\}"', DOCKERFILE.read_text(encoding="utf-8"))


def test_skypilot_resumes_from_an_object_store_with_the_wheel_of_the_project() -> None:
    task: dict[str, Any] = yaml.safe_load((ROOT / "infra/skypilot.yaml").read_text(encoding="utf-8"))
    assert set(task) <= {"name", "resources", "workdir", "file_mounts", "envs", "setup", "run"}
    ((mount, source),) = task["file_mounts"].items()
    assert (source, f"{mount}/mlprune-*.whl" in task["setup"]) == ("dist", True)
    program, command, recipe, option, store = shlex.split(task["run"])
    assert (program.rpartition("/")[2], command, option) == ("mlprune", "run", "--store")
    assert {recipe, store} == {f"${name}" for name in task["envs"]}


DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "infra" / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8")
)
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPORTED = {spec.exported(name): spec for name, spec in METRICS.items()}


def metrics_of(expression: str) -> list[str]:
    return re.findall(r"ray_\w+", expression)


def test_the_dashboard_shows_exactly_the_metrics_that_are_exported() -> None:
    assert {name for expression in EXPRESSIONS for name in metrics_of(expression)} == EXPORTED.keys()


def test_expressions_group_and_select_by_tags_that_the_metrics_have() -> None:
    for expression in EXPRESSIONS:
        used = {*re.findall(r"(\w+)=~", expression), *re.findall(r"by \((\w+)\)", expression)}
        for name in metrics_of(expression):
            assert used <= {*RUN_TAGS, *EXPORTED[name].tags}, expression


def test_the_runs_to_choose_are_those_with_metrics() -> None:
    (variable,) = (one for one in DASHBOARD["templating"]["list"] if one["name"] == "run")
    assert variable["query"] == "label_values(ray_mlprune_workers, run)"


def test_panels_have_ids_and_positions_of_their_own() -> None:
    positions = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(positions)) == len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
