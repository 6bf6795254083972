"""The files of a model on the driver's machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlprune.errors import BadInputError
from mlprune.plan.resources.node_capacity import Gpu, Node, Pool
from mlprune.recipe import ComputeConfig, Recipe
from mlprune.steps.job import ModelRef
from ray_jobs.driver import workplace
from ray_jobs.driver.workplace import CommandModel, local_ray_settings, machines, model_files
from ray_jobs.workers import cluster, cluster_nodes, replica_actors, shard_chain
from ray_jobs.workers.cluster_nodes import ClusterNode, NodeList
from ray_jobs.workers.node_resources import LocalRay
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import FinishedRun


def test_all_files_that_a_run_reads_are_described_and_the_weights_are_not_hashed(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model", "xglm")
    files = model_files(model)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= files.sizes.keys()
    assert files.sizes["config.json"] == (model / "config.json").stat().st_size
    assert "config.json" in files.hashes
    assert "model.safetensors" not in files.hashes


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
    monkeypatch.setattr(cluster_nodes.ray, "nodes", ray_nodes)
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


@pytest.fixture
def model(tmp_path: Path) -> ModelRef:
    folder = save_tiny_model(tmp_path / "model", "gpt2", seed=4)
    return ModelRef("model", str(folder), "gpt2", n_blocks=3, max_positions=64, dtype="float32")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the command asked of a cluster, in order."""
    seen: list[object] = []

    @contextmanager
    def connected(address: str) -> Any:
        seen.append(address)
        yield
        seen.append("disconnected")

    class Placement:
        def __init__(self, pool: Pool, *, name: str) -> None:
            self.name = name

        def wait_until_reserved(self) -> None:
            seen.append("reserved")

        def release(self) -> None:
            seen.append("released")

    def start_chain(_: str, model: ModelRef, pool: Pool, *, placement: Placement, name: str) -> object:
        seen.append((pool.n_workers, pool.n_shards, model.base_model_id))
        return SimpleNamespace(name=name)

    monkeypatch.setattr(cluster, "connected", connected)
    nodes = [ClusterNode(name, name, Node(1.0, 2**33)) for name in "abcd"]
    monkeypatch.setattr(NodeList, "required", lambda _: nodes)
    monkeypatch.setattr(workplace, "model_files", lambda folder: folder)
    monkeypatch.setattr(cluster_nodes, "require_on_nodes", lambda _, nodes: seen.append(f"checked on {len(nodes)}"))
    monkeypatch.setattr(replica_actors, "ReplicaPlacement", Placement)
    monkeypatch.setattr(shard_chain, "start_chain", start_chain)
    return seen


def command(address: str, **compute: Any) -> CommandModel:
    return CommandModel("harness", "/store", address=address, compute=ComputeConfig(**compute), batch_tokens=128)


def test_without_ray_the_model_is_one_shard_of_this_process(model: ModelRef, events: list[object]) -> None:
    with command("none") as source:
        assert source.load(model).spans == (range(3),)
    assert events == []


def test_a_cluster_is_joined_once_and_each_model_frees_its_resources(model: ModelRef, events: list[object]) -> None:
    with command("10.0.0.1:6379", shards=2) as source:
        first, second = source.load(model), source.load(model)
    loaded = ["reserved", (1, 2, "model")]
    assert events == [
        "10.0.0.1:6379",
        "checked on 4",
        *loaded,
        "released",
        "checked on 4",
        *loaded,
        "released",
        "disconnected",
    ]
    assert first.name != second.name, "actors of one cluster have different names"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("gpus", "device"), [((), "cpu"), ((Gpu(2**34),), "cuda")])
def test_the_device_is_that_of_the_machines_which_are_joined_once(
    gpus: tuple[Gpu, ...], device: str, model: ModelRef, events: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workplace, "local_node", lambda: Node(1.0, 2**33, gpus))
    for address in ("none", "local"):
        assert command(address).device() == device
    assert events == []
    monkeypatch.setattr(NodeList, "required", lambda _: [ClusterNode("a", "a", Node(2.0, 2**33, gpus))])
    with command("10.0.0.1:6379") as source:
        assert source.device() == device
        source.load(model)
    assert events.count("10.0.0.1:6379") == 1


def test_a_command_that_loads_no_model_joins_no_cluster(events: list[object]) -> None:
    with command("auto"):
        pass
    assert events == []
