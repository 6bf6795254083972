"""Machines of a run on a cluster, with a fake Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlprune.errors import BadInputError
from mlprune.recipe import Recipe
from ray_jobs.driver.workplace import local_ray_settings, machines
from ray_jobs.workers import cluster
from ray_jobs.workers.node_resources import LocalRay
from ray_jobs.workers.nodes import node_list
from tests.tiny_recipes import FinishedRun


def ray_node(n_cpus: float, *, zone: str = "x", is_alive: bool = True) -> dict[str, object]:
    identity = {"NodeID": "abc", "NodeManagerHostname": "host", "Labels": {"zone": zone}, "Alive": is_alive}
    return {**identity, "Resources": {"CPU": n_cpus, "memory": 1.0, "node:127.0.0.1": 1.0}}


def test_the_live_nodes_of_a_running_cluster_are_listed_while_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    @contextmanager
    def connected(address: str) -> Iterator[None]:
        events.append(address)
        yield
        events.append("closed")

    def ray_nodes() -> list[dict[str, object]]:
        events.append("listed")
        return [ray_node(4.0), ray_node(8.0, is_alive=False), ray_node(16.0, zone="y")]

    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(node_list.ray, "nodes", ray_nodes)
    with machines("ray://head:10001", {"zone": "x"}) as available:
        assert [node.n_cpus for node in available.nodes] == [4.0]
        assert available.node_list is not None
    assert events == ["ray://head:10001", "listed", "closed"]


def with_compute(small_run: FinishedRun, **compute: object) -> Recipe:
    recipe = small_run.plan.recipe
    return recipe.model_copy(update={"compute": recipe.compute.model_copy(update=compute)})


def test_a_local_ray_spills_below_the_folder_of_the_recipe(small_run: FinishedRun, tmp_path: Path) -> None:
    recipe = with_compute(small_run, spill_dir=str(tmp_path / "spilled" / "objects"), object_store_gib=0.5)
    assert local_ray_settings(recipe, address="local") == LocalRay(0.5, tmp_path / "spilled" / "objects")
    assert (tmp_path / "spilled" / "objects").is_dir()
    assert local_ray_settings(with_compute(small_run), address="local") == LocalRay()


def test_a_folder_that_cannot_be_created_is_bad_input(small_run: FinishedRun, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInputError, match=r"spill_dir"):
        local_ray_settings(with_compute(small_run, spill_dir=str(tmp_path / "file")), address="local")


def test_a_cluster_keeps_its_own_settings(
    small_run: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = with_compute(small_run, spill_dir=str(tmp_path / "spilled"))
    assert local_ray_settings(recipe, address="auto") == LocalRay()
    assert "ray start" in caplog.text
    assert not (tmp_path / "spilled").exists()
