"""Nodes of a Ray cluster as the planner sees them, and failed connections."""

import pytest

from mlprune.errors import BadInputError
from ray_jobs.workers import cluster
from ray_jobs.workers.cluster import node_of
from tests.hub import silent_address


def ray_node(**resources: float) -> dict[str, object]:
    return {
        "NodeID": "abc",
        "Alive": True,
        "Resources": {"node:127.0.0.1": 1.0, "object_store_memory": 5e8, **resources},
    }


def no_gpu(_: str) -> int:
    raise AssertionError("the GPU memory of a node without accelerators must not be measured")


def test_a_node_offers_its_cpus_and_its_reservable_memory() -> None:
    node = node_of(ray_node(CPU=4.0, memory=7_000_000_000.0), no_gpu)
    assert (node.n_cpus, node.memory_bytes, node.n_gpus, node.gpu_bytes) == (4.0, 7_000_000_000, 0, 0)


def test_the_gpu_memory_of_a_node_with_accelerators_is_measured() -> None:
    asked: list[str] = []

    def answer(node_id: str) -> int:
        asked.append(node_id)
        return 80_000_000_000

    node = node_of(ray_node(CPU=4.0, memory=1.0, GPU=2.0), answer)
    assert (node.n_gpus, node.gpu_bytes) == (2.0, 80_000_000_000)
    assert asked == ["abc"]


def test_a_head_node_without_cpus_offers_no_cpus() -> None:
    assert node_of(ray_node(memory=7e9), no_gpu).n_cpus == 0


@pytest.mark.parametrize(
    ("address", "context"),
    [
        ("local", {"reason": "the node timed out during startup."}),
        ("10.0.0.1:6379", {"reason": "the node timed out during startup.", "address": "10.0.0.1:6379"}),
    ],
)
def test_a_ray_that_does_not_start_in_time_is_bad_input_in_one_line(
    address: str, context: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_slow(**_: object) -> None:
        raise Exception("the node timed out\nduring startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr(cluster.ray, "init", too_slow)
    monkeypatch.setattr(cluster, "connection_problem", lambda *_, **__: None)
    with pytest.raises(BadInputError) as caught, cluster.connected(address):
        pass
    assert context.items() <= caught.value.context.items()
    assert len(str(caught.value).splitlines()) == 1


def never(**_: object) -> None:
    raise AssertionError("Ray must not be asked")


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1:1", "ray://127.0.0.1:port"])
def test_a_cluster_where_nothing_listens_is_reported_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.ray, "init", never)
    with pytest.raises(BadInputError, match="cannot be reached") as caught, cluster.connected(address):
        pass
    assert caught.value.context["address"] == address
    assert "ray start --head" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_cluster_that_does_not_answer_is_reported_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.ray, "init", never)
    monkeypatch.setattr(cluster, "CONNECT_TIMEOUT_S", 0.2)
    with silent_address() as port:
        opened = cluster.connected(f"ray://127.0.0.1:{port}")
        with pytest.raises(BadInputError, match=r"no answer within 0\.2 s"), opened:
            pass
