"""Nodes of a Ray cluster as the planner sees them, and failed connections."""

from pathlib import Path

import pytest
from ray.exceptions import GetTimeoutError, RayError

from mlprune.errors import BadInputError
from mlprune.plan.resources.node_capacity import Gpu
from ray_jobs.process.gpus import assigned_gpus
from ray_jobs.workers import cluster
from ray_jobs.workers.cluster import node_of
from ray_jobs.workers.node_resources import LocalRay
from tests.hub import silent_address


def ray_node(**resources: float) -> dict[str, object]:
    return {
        "NodeID": "abc",
        "Resources": {"node:127.0.0.1": 1.0, "object_store_memory": 5e8, **resources},
    }


def no_gpu(*_: object) -> tuple[Gpu, ...]:
    raise AssertionError("the GPU memory of a node without accelerators must not be measured")


def test_a_node_offers_its_cpus_and_its_reservable_memory() -> None:
    node = node_of(ray_node(CPU=4.0, memory=7_000_000_000.0), no_gpu)
    assert (node.n_cpus, node.memory_bytes, node.gpus) == (4.0, 7_000_000_000, ())


def test_all_gpus_of_a_node_are_measured() -> None:
    asked: list[tuple[str, int]] = []

    def answer(node_id: str, n_gpus: int) -> tuple[Gpu, ...]:
        asked.append((node_id, n_gpus))
        return (Gpu(80_000_000_000, "A"), Gpu(24_000_000_000, "B"))

    node = node_of(ray_node(CPU=4.0, memory=1.0, GPU=2.0), answer)
    assert [gpu.name for gpu in node.gpus] == ["A", "B"]
    assert (node.n_gpus, node.gpu_bytes) == (2, 24_000_000_000)
    assert asked == [("abc", 2)]


class MeasuringRay:
    """Replaces the functions of Ray that measure a node."""

    def __init__(self, measured: tuple[Gpu, ...] | RayError) -> None:
        self.measured = measured
        self.reserved: dict[str, object] = {}

    def remote(self, *arguments: object) -> "MeasuringRay":
        assert arguments in ((assigned_gpus,), (2,))
        return self

    def options(self, **options: object) -> "MeasuringRay":
        self.reserved = options
        return self

    def get(self, _: object, *, timeout: float) -> tuple[Gpu, ...]:
        assert timeout > 0
        if isinstance(self.measured, RayError):
            raise self.measured
        return self.measured


UNKNOWN = (Gpu(0), Gpu(0))
TWO = (Gpu(5, "A"), Gpu(7, "A"))


@pytest.mark.parametrize(
    ("measured", "expected"), [(TWO, TWO), (TWO[:1], UNKNOWN), (GetTimeoutError("no answer"), UNKNOWN)]
)
def test_the_probe_of_a_node_reserves_no_gpu_and_what_it_does_not_report_is_unknown(
    measured: tuple[Gpu, ...] | RayError, expected: tuple[Gpu, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = MeasuringRay(measured)
    monkeypatch.setattr(cluster, "ray", fake)
    monkeypatch.setattr(cluster, "ray", fake)
    assert cluster.measured_gpus("ab" * 28, 2) == expected
    assert (fake.reserved["num_cpus"], fake.reserved["num_gpus"]) == (0, 0)


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
    with pytest.raises(BadInputError) as caught, cluster.connected(address):
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


@pytest.mark.parametrize("existing", [None, "a" * 64])
def test_only_the_user_may_read_the_token_of_a_local_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str | None
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".ray" / "auth_token"
    if existing:
        path.parent.mkdir()
        path.write_text(existing)
        path.chmod(0o644)
    cluster.protect_token()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) == 64
    assert existing in (None, path.read_text())


def test_a_token_of_the_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    cluster.protect_token()
    assert not list(tmp_path.iterdir())


def test_a_local_ray_gets_the_object_store_and_the_folder_of_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(cluster.ray, "init", lambda **options: given.update(options))
    monkeypatch.setattr(cluster, "protect_token", lambda: None)
    with cluster.connected("local", LocalRay(2, tmp_path)):
        assert given["object_store_memory"] == 2 * 2**30
        assert given["object_spilling_directory"] == str(tmp_path)
    given.clear()
    with cluster.connected("local"):
        assert "object_spilling_directory" not in given
