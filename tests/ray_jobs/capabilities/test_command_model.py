"""The models of a command, in this process and on a cluster."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlprune.planning.resources.node_capacity import Gpu, Node, Pool
from mlprune.recipe.models import ComputeConfig
from mlprune.steps.job import ModelRef
from ray_jobs.capabilities.harness import command_model
from ray_jobs.capabilities.harness.command_model import CommandModel
from ray_jobs.workers import cluster, cluster_nodes, ray_chain, replica_actors
from ray_jobs.workers.cluster_nodes import ClusterNode, NodeList
from tests.tiny_models import save_tiny_model


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
            self.pool, self.name = pool, name

        def wait_until_reserved(self) -> None:
            seen.append("reserved")

        def release(self) -> None:
            seen.append("released")

    def start_shards(placement: Placement, _: str, *, model: ModelRef, n: int) -> str:
        seen.append((placement.pool.n_workers, n, model.base_model_id))
        return placement.name

    monkeypatch.setattr(cluster, "connected", connected)
    nodes = [ClusterNode(name, name, Node(1.0, 2**33)) for name in "abcd"]
    monkeypatch.setattr(NodeList, "required", lambda _: nodes)
    monkeypatch.setattr(command_model, "model_files", lambda folder: folder)
    monkeypatch.setattr(cluster_nodes, "require_on_nodes", lambda _, nodes: seen.append(f"checked on {len(nodes)}"))
    monkeypatch.setattr(replica_actors, "ReplicaPlacement", Placement)
    monkeypatch.setattr(replica_actors, "start_shards", start_shards)
    monkeypatch.setattr(ray_chain, "load_chain", lambda name, *_, **__: SimpleNamespace(name=name))
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
    monkeypatch.setattr(command_model, "local_node", lambda: Node(1.0, 2**33, gpus))
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
