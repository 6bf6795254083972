"""Clusters of Ray, their nodes and their resources."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError

from mlprune.errors import BadInputError
from mlprune.planning.resources.node_capacity import Gpu, Node
from ray_jobs.process.environment import this_processor
from ray_jobs.process.gpus import assigned_gpus
from ray_jobs.workers import cluster, node_resources
from ray_jobs.workers import cluster as node_tasks
from ray_jobs.workers import cluster_nodes as module
from ray_jobs.workers.cluster import node_of
from ray_jobs.workers.cluster_nodes import ClusterNode, NodeList, count_processors, has_labels, require_on_nodes
from ray_jobs.workers.node_resources import LocalRay, free_memory_bytes, local_node, local_ray_bytes, n_cpus
from ray_jobs.workers.required_files import ModelFiles, Requirements, problem_here
from tests.hub import silent_address
from tests.ray_jobs.workers.fake_ray import Reference
from tests.refusals import refused


def ray_node(**resources: float) -> dict[str, object]:
    return {"NodeID": "abc", "Resources": {"node:127.0.0.1": 1.0, "object_store_memory": 5e8, **resources}}


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
    with refused(BadInputError) as caught, cluster.connected(address):
        pass
    assert context.items() <= caught.value.context.items()


def never(**_: object) -> None:
    raise AssertionError("Ray must not be asked")


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "127.0.0.1:1", "ray://127.0.0.1:port"])
def test_a_cluster_where_nothing_listens_is_reported_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.ray, "init", never)
    with refused(BadInputError, address=address) as caught, cluster.connected(address):
        pass
    assert "ray start --head" in str(caught.value)


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


LABELS = {"ray.io/accelerator-type": "H100", "zone": "a"}


@pytest.mark.parametrize(
    ("selector", "is_match"),
    [
        ({}, True),
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"zone": "!b"}, True),
        ({"zone": "!a"}, False),
        ({"ray.io/accelerator-type": "in(A100, H100)", "zone": "a"}, True),
        ({"ray.io/accelerator-type": "in(A100,H200)"}, False),
        ({"ray.io/accelerator-type": "!in(A100, H200)"}, True),
        ({"pool": "spot"}, False),
        ({"pool": "!spot"}, True),
    ],
)
def test_a_node_matches_if_all_of_its_labels_do(selector: dict[str, str], is_match: bool) -> None:
    assert has_labels(LABELS, selector) == is_match


def listed_node(name: str, *, is_alive: bool = True, labels: dict[str, str] | None = None, **resources: float) -> Any:
    resources = {"CPU": 4.0, "memory": 2.0**30, **resources}
    identity = {"NodeID": name, "NodeManagerHostname": f"host-{name}", "Labels": labels or {}}
    return {**identity, "Alive": is_alive, "Resources": resources}


class FakeRay:
    """The nodes of a cluster and the times at which they leave."""

    def __init__(self, *nodes: Any) -> None:
        self.all = list(nodes)
        self.deadlines_ms: dict[str, int] = {}
        state = SimpleNamespace(get_draining_nodes=lambda: self.deadlines_ms)
        self._private = SimpleNamespace(state=SimpleNamespace(state=state))

    def nodes(self) -> list[Any]:
        return self.all


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay(
        listed_node("a", labels={"zone": "x"}), listed_node("dead", is_alive=False), listed_node("b", GPU=1.0)
    )
    monkeypatch.setattr(module, "ray", made)
    return made


def test_nodes_are_listed_with_the_time_until_they_leave_and_measured_once(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(node_id: str, n_gpus: int) -> tuple[Gpu, ...]:
        measured.append(node_id)
        return (Gpu(2**34),) * n_gpus

    monkeypatch.setattr(module, "measured_gpus", measure)
    fake.deadlines_ms = {"b": int(1000 * (time.time() + 30))}
    list_nodes = NodeList()
    first, second = list_nodes()
    assert (first.node_id, first.host, first.leaves_in_s) == ("a", "host-a", None)
    assert second.leaves_in_s == pytest.approx(30, abs=5)
    assert second.resources.gpu_bytes == 2**34
    fake.deadlines_ms = {"b": 0}
    assert [one.leaves_in_s for one in list_nodes()] == [None, float("inf")]
    assert measured == ["b"]


def test_only_nodes_with_the_labels_are_listed_and_at_least_one_is_required(fake: FakeRay) -> None:
    assert [one.node_id for one in NodeList({"zone": "x"}).required()] == ["a"]
    with refused(BadInputError, got=[{"zone": "x"}, {}]):
        NodeList({"zone": "y"}).required()


def test_a_ray_that_does_not_say_which_nodes_leave_is_reported_once(
    fake: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    del fake._private.state.state.get_draining_nodes
    fake.all = fake.all[:1]
    list_nodes = NodeList()
    assert [one.leaves_in_s for one in (*list_nodes(), *list_nodes())] == [None, None]
    assert len(caplog.messages) == 1


LOST = object()
"""The result of a task whose node was lost, or that failed."""
KILLED = object()
"""The result of a task that Ray killed for its memory."""
SILENT = object()
"""The result of a task that does not end."""
PROBLEM = ("a node does not have a file of a model", {"path": "/models/xglm/config.json", "reason": "it is missing"})


class FakeCluster:
    """Nodes by name -> what the check answers there."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.alive = set(answers)

    def remote(self, function: object) -> Any:
        assert function in (problem_here, this_processor)
        return SimpleNamespace(options=self._options)

    def _options(self, *, scheduling_strategy: str, **_: object) -> Any:
        self.asked.append(scheduling_strategy)
        return SimpleNamespace(remote=lambda *_: Reference(self.answers[scheduling_strategy]))

    def get(self, reference: Reference) -> Any:
        if reference.value is LOST:
            raise RayError("No module named 'mlprune'")
        if reference.value is KILLED:
            raise OutOfMemoryError("Task was killed due to the node running low on memory.")
        return reference.value

    def wait(self, tasks: list[Reference], **_: object) -> tuple[list[Reference], list[Reference]]:
        silent = [task for task in tasks if task.value is SILENT]
        return [task for task in tasks if task not in silent], silent

    def nodes(self) -> list[dict[str, object]]:
        return [{"NodeID": name, "Alive": name in self.alive} for name in self.answers]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that connects to a fake cluster and lists its nodes."""

    def nodes_of(cluster: FakeCluster) -> list[ClusterNode]:
        monkeypatch.setattr(module, "ray", cluster)
        monkeypatch.setattr(node_tasks, "ray", cluster)
        monkeypatch.setattr(node_tasks, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
        nodes = [ClusterNode(name, f"host-{name}", Node(4.0, 2**30)) for name in cluster.answers]
        return [
            *nodes,
            ClusterNode("head", "host-head", Node(0.0, 2**30)),
            ClusterNode("leaving", "host-leaving", Node(4.0, 2**30), 30.0),
        ]

    return nodes_of


@pytest.fixture
def check(connect: Any) -> Any:
    """A function that checks the nodes of a fake cluster."""
    requirements = Requirements((ModelFiles("/models/xglm", {}, {}),))
    return lambda cluster: require_on_nodes(requirements, connect(cluster))


def test_the_processors_of_nodes_that_answer_are_counted(connect: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster(a="EPYC with AVX512", b="Xeon with AVX2", c="EPYC with AVX512", d=LOST, e=SILENT)
    assert count_processors(connect(cluster)) == {"EPYC with AVX512": 2, "Xeon with AVX2": 1}
    assert [host for host in cluster.answers if f"host-{host}" in caplog.text] == ["d", "e"]
    assert count_processors([]) == {}


def test_every_node_that_runs_jobs_and_stays_is_asked(check: Any) -> None:
    cluster = FakeCluster(a=None, b=None)
    check(cluster)
    assert cluster.asked == ["a", "b"]


def test_a_node_without_a_file_is_named(check: Any) -> None:
    with pytest.raises(BadInputError) as caught:
        check(FakeCluster(a=None, b=PROBLEM))
    assert caught.value.context == {**PROBLEM[1], "node": "host-b"}


def test_a_node_that_cannot_check_is_named_unless_it_has_left(check: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster(a=None, b=LOST)
    with refused(BadInputError, node="host-b", reason="No module named 'mlprune'"):
        check(cluster)
    cluster.alive = {"a"}
    check(cluster)
    assert "host-b left" in caplog.text


def test_a_check_that_was_killed_for_its_memory_says_what_to_do(check: Any) -> None:
    with refused(BadInputError, node="host-b") as caught:
        check(FakeCluster(a=None, b=KILLED))
    assert "memory" in str(caught.value.context["next"])


def test_nodes_that_do_not_answer_are_logged_and_finally_named(
    check: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter([0.0, 60.0, 3600.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(BadInputError) as caught:
        check(FakeCluster(a=None, b=SILENT))
    assert caught.value.context == {"nodes": "host-b", "waited": "60 minutes"}
    assert len(caplog.messages) == 1


GIB = 2**30


def meminfo(folder: Path, gib: int) -> Path:
    file = folder / "meminfo"
    file.write_text(f"MemTotal: {64 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable:   {gib * GIB // 1024} kB\n")
    return file


def cgroup(folder: Path, limit: str, used: int, *, inactive_file: int = 0) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive_file}\n")
    return folder


def test_free_memory_is_what_the_system_calls_available(tmp_path: Path) -> None:
    assert free_memory_bytes(meminfo(tmp_path, 7), tmp_path) == 7 * GIB


def test_a_container_has_what_is_left_of_its_limit(tmp_path: Path) -> None:
    file = meminfo(tmp_path, 7)
    assert free_memory_bytes(file, cgroup(tmp_path, str(4 * GIB), 3 * GIB)) == GIB
    assert free_memory_bytes(file, cgroup(tmp_path, str(4 * GIB), 3 * GIB, inactive_file=GIB)) == 2 * GIB
    assert free_memory_bytes(file, cgroup(tmp_path, str(4 * GIB), 5 * GIB)) == 0
    assert free_memory_bytes(file, cgroup(tmp_path, "max", 3 * GIB)) == 7 * GIB


def test_without_linux_files_half_of_the_memory_counts_as_free(tmp_path: Path) -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free_memory_bytes(tmp_path / "meminfo", tmp_path) == whole // 2


def test_this_machine_is_measured() -> None:
    node = local_node()
    assert node.n_cpus == n_cpus() <= (os.cpu_count() or 1)
    assert 0 < node.memory_bytes <= psutil.virtual_memory().total


def test_a_local_ray_leaves_memory_to_its_own_processes() -> None:
    for_actors, for_objects = local_ray_bytes()
    assert 0 < for_objects <= GIB
    assert for_actors + for_objects < free_memory_bytes() + GIB // 4


def test_the_object_store_of_a_recipe_is_taken_from_the_memory_of_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_resources, "free_memory_bytes", lambda: 16 * GIB)
    for_actors, for_objects = local_ray_bytes(4)
    assert for_objects == 4 * GIB
    assert for_actors == local_ray_bytes()[0] + local_ray_bytes()[1] - 4 * GIB
    assert local_ray_bytes(100)[0] == 0
