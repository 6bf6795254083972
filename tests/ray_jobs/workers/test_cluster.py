"""What Ray says of its nodes, as what a plan is made with."""

import pytest

from mlprune.errors import BadInputError
from ray_jobs.workers import cluster
from ray_jobs.workers.cluster import node_of


def described(**resources: float) -> dict[str, object]:
    return {
        "NodeID": "abc",
        "Alive": True,
        "Resources": {"node:127.0.0.1": 1.0, "object_store_memory": 5e8, **resources},
    }


def no_gpu(_: str) -> int:
    raise AssertionError("a node without accelerators is not asked about them")


def test_a_node_offers_its_cpus_and_its_reservable_memory() -> None:
    found = node_of(described(CPU=4.0, memory=7_000_000_000.0), no_gpu)
    assert (found.n_cpus, found.memory_bytes, found.n_gpus, found.gpu_bytes) == (4.0, 7_000_000_000, 0, 0)


def test_a_node_with_accelerators_is_asked_for_their_memory() -> None:
    asked: list[str] = []

    def answer(node_id: str) -> int:
        asked.append(node_id)
        return 80_000_000_000

    found = node_of(described(CPU=4.0, memory=1.0, GPU=2.0), answer)
    assert (found.n_gpus, found.gpu_bytes) == (2.0, 80_000_000_000)
    assert asked == ["abc"]


def test_a_head_without_cpus_offers_none() -> None:
    assert node_of(described(memory=7e9), no_gpu).n_cpus == 0


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("local", "Ray did not start on this machine [reason='the node timed out during startup.', next='the same"),
        ("10.0.0.1:6379", "the Ray cluster cannot be reached [address='10.0.0.1:6379', reason='the node timed out"),
    ],
)
def test_a_ray_that_does_not_start_in_time_is_one_line(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_slow(**_: object) -> None:
        raise Exception("the node timed out\nduring startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr(cluster.ray, "init", too_slow)
    with pytest.raises(BadInputError) as caught, cluster.connected(address):
        pass
    assert str(caught.value).startswith(said)
