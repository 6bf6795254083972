"""Nodes of a cluster that do not see the folder of a model, with a fake Ray."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayError

from mlprune.errors import BadInputError
from ray_jobs.workers import shared_folders
from ray_jobs.workers.shared_folders import missing_folders, require_folders
from tests.ray_jobs.workers.fake_ray import Reference


class Lost:
    """The result of a task whose node was lost."""


def fake_cluster(monkeypatch: pytest.MonkeyPatch, seen: dict[str, list[str] | Lost]) -> list[str]:
    """Nodes by name -> the folders that they miss; returns the nodes that were asked."""
    asked: list[str] = []
    nodes = [
        {
            "NodeID": name,
            "NodeManagerHostname": name,
            "Alive": name != "dead",
            "Resources": {"CPU": 0 if name == "head" else 4},
        }
        for name in ("head", "dead", *seen)
    ]

    def remote(_: Any) -> Any:
        def options(*, scheduling_strategy: Any, **__: Any) -> Any:
            asked.append(scheduling_strategy.node_id)
            return SimpleNamespace(remote=lambda _folders: Reference(seen[scheduling_strategy.node_id]))

        return SimpleNamespace(options=options)

    def get(reference: Reference) -> Any:
        if isinstance(reference.value, Lost):
            raise RayError("lost")
        return reference.value

    fake = SimpleNamespace(nodes=lambda: nodes, remote=remote, get=get, wait=lambda tasks, **_: (tasks, []))
    monkeypatch.setattr(shared_folders, "ray", fake)
    monkeypatch.setattr(
        shared_folders, "NodeAffinitySchedulingStrategy", lambda node, soft: SimpleNamespace(node_id=node)
    )
    return asked


def test_every_live_node_with_cpus_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_cluster(monkeypatch, {"a": [], "b": Lost(), "c": []})
    require_folders(["/models/xglm"])
    assert asked == ["a", "b", "c"]


def test_a_node_that_misses_a_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cluster(monkeypatch, {"a": [], "b": ["/models/xglm"]})
    with pytest.raises(BadInputError, match="does not see") as caught:
        require_folders(["/models/xglm"])
    assert (caught.value.context["node"], caught.value.context["path"]) == ("b", "/models/xglm")
    assert "MLPRUNE_MODEL_CACHE" in str(caught.value)


def test_missing_folders_are_those_that_are_no_folders_here(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths = [str(tmp_path), str(tmp_path / "file"), str(tmp_path / "none")]
    assert missing_folders(paths) == paths[1:]
