"""No process uses more memory than the plan gives it: resident memory, measured from outside during runs."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlprune.planning.resources.estimate import Needs, needs_of
from mlprune.planning.resources.node_capacity import GIB, Node, Pool
from tests.forked_runs import ForkedRun, mlprune
from tests.ray_cluster import ROOT, Cluster
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import plan_of, results, small_recipe, write_recipe, write_texts

pytestmark = pytest.mark.ray
TIMEOUT_S = 900
POLL_INTERVAL_S = 0.02
LOOK_INTERVAL_S = 1.0
"""Time between two searches for processes, each of which reads all processes of the machine."""
PLENTY = [Node(1.0, 64 * GIB)] * 2
MARGIN = 0.02

Start = Callable[..., ForkedRun]


class Watch(threading.Thread):
    """Measures the peak resident memory of processes, by polling.

    Args:
        look: finds the processes, each with its kind.
    """

    def __init__(self, look: Callable[[], Iterator[tuple[str, psutil.Process]]]) -> None:
        super().__init__(daemon=True)
        self._look = look
        self._over = threading.Event()
        self._peaks: dict[tuple[str, int], int] = {}

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        found: list[tuple[str, psutil.Process]] = []
        looked_at = float("-inf")
        while not self._over.wait(POLL_INTERVAL_S):
            if time.monotonic() - looked_at > LOOK_INTERVAL_S:
                found, looked_at = list(self._look()), time.monotonic()
            for kind, process in found:
                try:
                    n_bytes = process.memory_info().rss
                except psutil.Error:
                    continue
                self._peaks[kind, process.pid] = max(n_bytes, self._peaks.get((kind, process.pid), 0))

    def of(self, kind: str) -> list[int]:
        """Peaks of all processes of a kind, in bytes."""
        return [peak for (name, _), peak in self._peaks.items() if name == kind]


def on_cluster_watched(recipe: Path, store: Path, cluster: Cluster, start: Start) -> Watch:
    """Run a recipe on a cluster and measure its actors."""

    def look() -> Iterator[tuple[str, psutil.Process]]:
        for kind in ("ShardActor", "WorkerActor"):
            yield from ((kind, process) for process in cluster.processes(f"ray::{kind}"))

    with Watch(look) as watch:
        start(recipe, store, address=cluster.address, environment=cluster.settings).finish(TIMEOUT_S)
    return watch


def here_watched(recipe: Path, store: Path) -> Watch:
    """Run a recipe in a process of its own and measure it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ray_jobs.cli", "run", str(recipe), "--store", str(store), "--address", "none"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    measured = psutil.Process(process.pid)
    with Watch(lambda: iter([("run", measured)])) as watch:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors[-3000:]
    return watch


def inputs_with_model(folder: Path, *, blocks: int, hidden: int) -> Path:
    save_tiny_model(folder / "model", blocks=blocks, hidden=hidden)
    write_texts(folder)
    return folder


def recipe_with(folder: Path, name: str, **compute: Any) -> tuple[Path, Needs]:
    """Write a recipe with a section `compute`; returns its path and needs."""
    path = write_recipe(folder, {**small_recipe(), "compute": {"batch_tokens": 128, **compute}}, name=f"{name}.yaml")
    plan = plan_of(path)
    return path, needs_of(plan, plan.jobs)


def granted(folder: Path, n_bytes: int, **compute: Any) -> tuple[Path, Pool]:
    """Write a recipe that gives each actor a number of bytes; returns its path and pool."""
    path, needs = recipe_with(folder, "granted", memory_gib_per_actor=round(n_bytes / GIB, 3), **compute)
    return path, needs.pool(PLENTY)


def a_bit_above_plan(folder: Path, **compute: Any) -> tuple[Path, Pool]:
    """Write a recipe that gives each actor slightly more than it needs according to the plan."""
    _, needs = recipe_with(folder, "planned", **compute)
    return granted(folder, int(needs.pool(PLENTY).memory_bytes * (1 + MARGIN)), **compute)


@pytest.fixture(scope="module")
def tens_of_mb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs with a model of 4 blocks of 19 MB."""
    return inputs_with_model(tmp_path_factory.mktemp("budget"), blocks=4, hidden=640)


@pytest.mark.thorough("runs on a cluster")
def test_no_shard_uses_more_memory_than_its_budget(
    tens_of_mb: Path, tmp_path: Path, cluster: Cluster, start: Start
) -> None:
    path, pool = a_bit_above_plan(tens_of_mb, shards=2, replicas=1)
    watch = on_cluster_watched(path, tmp_path / "store", cluster, start)
    assert len(watch.of("ShardActor")) == 2
    assert max(watch.of("ShardActor")) <= pool.memory_bytes
    assert max(watch.of("WorkerActor")) <= pool.coordinator_bytes


@pytest.mark.thorough("runs on a cluster")
def test_a_model_that_fits_on_no_node_is_refused_before_anything_is_written(
    tiny_inputs: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.settings.items():
        monkeypatch.setenv(name, value)
    path, _ = recipe_with(tiny_inputs, "too-large", memory_gib_per_actor=4000.0)
    done = mlprune("run", path, "--store", tmp_path / "store", "--address", cluster.address)
    assert done.returncode == 2, done.stderr
    assert "the model does not fit on the available machines" in done.stderr
    assert "expected='compute: {memory_gib_per_actor: " in done.stderr
    assert not (tmp_path / "store").exists()
    assert not cluster.processes("ray::WorkerActor")


@pytest.mark.slow
def test_no_worker_uses_more_memory_than_its_budget(
    tens_of_mb: Path, tmp_path: Path, cluster: Cluster, start: Start
) -> None:
    path, pool = a_bit_above_plan(tens_of_mb, shards=1, replicas=2)
    watch = on_cluster_watched(path, tmp_path / "store", cluster, start)
    assert len(watch.of("WorkerActor")) == 2
    assert max(watch.of("WorkerActor")) <= pool.memory_bytes


@pytest.fixture(scope="module")
def hundreds_of_mb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs with a model of 16 blocks of 50 MB. For a smaller model, states would need more memory than is saved."""
    return inputs_with_model(tmp_path_factory.mktemp("large"), blocks=16, hidden=1024)


@pytest.mark.slow
@pytest.mark.parametrize(("address", "shards"), [("none", 1), ("cluster", 1), ("cluster", 2)])
def test_an_offloaded_model_runs_within_its_budget(
    address: str, shards: int, hundreds_of_mb: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _, needs = recipe_with(hundreds_of_mb, "planned", shards=shards, replicas=1)
    weights = sum(needs.sizes.blocks) // shards
    path, pool = granted(hundreds_of_mb, needs.pool(PLENTY).memory_bytes - weights // 4, shards=shards, replicas=1)
    assert pool.is_offloaded
    if address == "none":
        watch, kind = here_watched(path, tmp_path / "store"), "run"
    else:
        cluster, start = request.getfixturevalue("cluster"), request.getfixturevalue("start")
        watch = on_cluster_watched(path, tmp_path / "store", cluster, start)
        kind = "WorkerActor" if shards == 1 else "ShardActor"
    assert len(watch.of(kind)) == shards
    assert max(watch.of(kind)) <= pool.memory_bytes
    whole, _ = recipe_with(hundreds_of_mb, "whole")
    here_watched(whole, tmp_path / "whole")
    assert results(tmp_path / "store") == results(tmp_path / "whole")
