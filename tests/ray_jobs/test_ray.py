"""The same recipe over real Ray: the same bytes as in one process, whatever is killed on the way."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlprune.store.store import Store
from tests.forked_runs import ForkedRun, Gate
from tests.ray_cluster import ROOT, Cluster, Node
from tests.tiny_recipes import FinishedRun, finished_run, results, small_recipe, write_baseline_inputs, write_recipe

pytestmark = pytest.mark.ray
ELSEWHERE = {"RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(ROOT)}
"""`local` and `none` have nothing to do with what RAY_ADDRESS says."""

Start = Callable[..., ForkedRun]


def ray_recipe(**compute: int) -> dict[str, Any]:
    """The small recipe with every way to read a model: features of layers, likelihoods and generated text; and with two
    baselines, one whose states are moved while it runs, and one that is another model."""
    recipe = small_recipe()
    more = {"path": "corpus", "limit": 2, "variants": ["dense"]}
    recipe["corpus"]["leave_out_evaluated"] = True
    recipe["evaluations"] += [
        {"task": "perplexity", "languages": ["en"], **more},
        {"task": "translation", "pairs": ["fr-en"], "shots": 1, "max_new_tokens": 3, **more},
    ]
    mono = {"name": "mono", "kind": "monolingual", "language": ["en", "fr"], "shots": 2, "samples": 4, "max_tokens": 48}
    recipe["demonstrations"] += [mono]
    recipe["baselines"] = [
        {"kind": "model", "path": "small"},
        {"kind": "lrp2", "demonstrations": "mono", "layers": [0, 2]},
    ]
    return {**recipe, "compute": {"batch_tokens": 128, **compute}}


@pytest.fixture(scope="module")
def expected(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The recipe run in this process."""
    folder = write_baseline_inputs(tiny_inputs, tmp_path_factory.mktemp("over-ray") / "inputs")
    return finished_run(folder, ray_recipe(), name="over-ray")


@pytest.fixture(scope="module")
def one_worker(expected: FinishedRun) -> Path:
    """The same for one worker."""
    return write_recipe(expected.folder, ray_recipe(replicas=1), name="one-worker.yaml")


@pytest.fixture(scope="module")
def one_worker_of_shards(expected: FinishedRun) -> Path:
    """The same for one worker, whose model is cut in two."""
    return write_recipe(expected.folder, ray_recipe(replicas=1, shards=2), name="shards.yaml")


@pytest.fixture
def third_node(cluster: Cluster) -> Iterator[Node]:
    """A node that is there for one test."""
    node = cluster.add_node()
    yield node
    cluster.remove_node(node)


def addresses(store: Path) -> set[str]:
    """Where the runs in a store ran."""
    files = Store(store)
    return {files.read_json(path)["address"] for path in files.list("runs") if path.endswith("/run.json")}


@pytest.mark.slow
def test_two_drivers_of_two_clusters_in_one_store_give_the_records_of_one_process(
    expected: FinishedRun, tmp_path: Path, cluster: Cluster, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    """The one is held at its evaluations until the other, which starts a cluster of its own, has made some."""
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    there = start(expected.recipe_path, store, gate=gate, **on_cluster)
    there.until(gate.waiting)
    here = start(expected.recipe_path, store, address="local", environment=ELSEWHERE)
    here.until(lambda: list(store.glob("records/evaluations/*.json")))
    gate.open()
    said = [run.finish() for run in (there, here)]
    assert addresses(store) == {cluster.address, "local"}
    assert "of them by another run in this store" in said[0]
    assert results(store) == results(expected.store)


def test_a_model_cut_into_shards_gives_the_same_records_and_a_killed_shard_changes_nothing(
    expected: FinishedRun,
    one_worker_of_shards: Path,
    cluster: Cluster,
    tmp_path: Path,
    *,
    start: Start,
    on_cluster: dict[str, Any],
) -> None:
    gate = Gate.closed(tmp_path / "gate", "sweep")
    run = start(one_worker_of_shards, tmp_path / "store", gate=gate, **on_cluster)
    run.until(gate.waiting)
    cluster.processes("ray::ShardActor")[0].kill()
    gate.open()
    assert "a shard died" in run.finish()
    assert results(tmp_path / "store") == results(expected.store)


def test_a_killed_driver_loses_nothing_and_a_killed_worker_costs_only_its_job(
    expected: FinishedRun, one_worker: Path, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "prune")
    run = start(one_worker, store, gate=gate, **on_cluster)
    run.until(gate.waiting)
    run.send(signal.SIGKILL)
    run.end()
    assert 0 < len(results(store)) < len(results(expected.store))

    another = Gate.closed(tmp_path / "another-gate", "evaluate")
    again = start(one_worker, store, gate=another, **on_cluster)
    again.until(another.waiting)
    os.kill(another.waiting()[0], signal.SIGKILL)
    another.open()
    assert "a worker died" in again.finish()
    assert results(store) == results(expected.store)


def held_on(node: Node, gate: Gate) -> list[psutil.Process]:
    """The workers of a node whose jobs wait at a gate."""
    waiting = gate.waiting()
    return [one for one in node.family() if one.pid in waiting]


def is_running(process: psutil.Process) -> bool:
    """Whether it runs; what nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_raylet_takes_its_workers_along_and_the_run_goes_on_with_the_others(
    expected: FinishedRun, third_node: Node, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    run = start(expected.recipe_path, store, gate=gate, **on_cluster)
    run.until(lambda: held_on(third_node, gate))
    held = held_on(third_node, gate)
    third_node.kill_raylet()
    run.until(lambda: not any(is_running(one) for one in held))  # a worker may outlive its raylet by some seconds
    gate.open()
    assert "a worker died" in run.finish()
    assert results(store) == results(expected.store)


@pytest.mark.parametrize("step", ["observe", "evaluate"])
def test_one_process_killed_at_any_moment_goes_on_where_it_was(
    step: str, expected: FinishedRun, tmp_path: Path, start: Start
) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", step)
    killed = start(expected.recipe_path, store, gate=gate, environment=ELSEWHERE)
    killed.until(gate.waiting)
    killed.send(signal.SIGKILL)
    killed.end()
    assert 0 < len(results(store)) < len(results(expected.store))
    start(expected.recipe_path, store).finish()
    assert results(store) == results(expected.store)
