"""A recipe on real Ray gives the same bytes as in one process, whichever process is killed."""

import os
import pickle
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlprune.methods.plugins import provided_files
from mlprune.planning import build_plan, pending_jobs
from mlprune.recipe.loading import load_recipe
from mlprune.steps.prune.sweep import SweepJob
from mlprune.steps.variants.scored_variant import block_identity
from mlprune.store.records import record_path
from mlprune.store.store import Store
from ray_jobs.workers.heartbeats import SILENT_AFTER_VARIABLE
from tests.forked_runs import CONTEXT, ForkedRun, Gate
from tests.plugin_packages import CUBIC, on_path, write_distribution
from tests.ray_cluster import ROOT, Cluster, Node
from tests.run_entries import entries
from tests.tiny_recipes import (
    FinishedRun,
    copied_inputs,
    copy_of,
    results,
    run_jobs,
    run_plan,
    shared_results,
    small_recipe,
    write_baseline_inputs,
    write_recipe,
)

pytestmark = pytest.mark.ray
ELSEWHERE = {"RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(ROOT)}
"""An environment whose RAY_ADDRESS the addresses `local` and `none` must ignore."""

Start = Callable[..., ForkedRun]
PLUGIN_FILE = "my_score.py"


def ray_recipe(**compute: int) -> dict[str, Any]:
    """The small recipe with every use of a model: statistics, likelihoods and generated text; with the score of a
    plug-in file; and with two baselines: one shifts hidden states at run time, the other is another model."""
    recipe = small_recipe()
    recipe["plugins"] = [PLUGIN_FILE]
    cubic = {"name": "cubic", "score": "cubic", "demonstrations": "mt", "sparsity": 0.5}
    recipe["variants"].append({**cubic, "propagation": ["dense", "sequential"]})
    more = {"path": "corpus", "limit": 2, "variants": ["ordering"]}
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


def run_in_process(recipe_path: Path, store: Path) -> FinishedRun:
    """Run a recipe in this process."""
    plan = build_plan(load_recipe(recipe_path, allowed_plugins=[recipe_path.parent / PLUGIN_FILE]))
    run_plan(plan, Store(store))
    return FinishedRun(recipe_path, plan, Store(store))


@pytest.fixture
def start(start: Start, expected: FinishedRun) -> Start:
    """Start a run that may run the code of the plug-in file."""
    return partial(start, allowed_plugins=[expected.folder / PLUGIN_FILE])


@pytest.fixture(scope="module")
def expected(tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The recipe run in this process."""
    folder = write_baseline_inputs(tiny_inputs, tmp_path_factory.mktemp("over-ray") / "inputs")
    (folder / PLUGIN_FILE).write_text(CUBIC, encoding="utf-8")
    return run_in_process(write_recipe(folder, ray_recipe()), folder / "store")


@pytest.fixture(scope="module")
def one_worker(expected: FinishedRun) -> Path:
    """The recipe for one worker."""
    return write_recipe(expected.folder, ray_recipe(replicas=1), name="one-worker.yaml")


@pytest.fixture(scope="module")
def one_worker_of_shards(expected: FinishedRun) -> Path:
    """The recipe for one worker with two shards, without the baseline that loads another model."""
    recipe = ray_recipe(replicas=1, shards=2)
    recipe["baselines"] = [baseline for baseline in recipe["baselines"] if baseline["kind"] != "model"]
    return write_recipe(expected.folder, recipe, name="shards.yaml")


@pytest.fixture
def third_node(cluster: Cluster) -> Iterator[Node]:
    """A third node for one test."""
    node = cluster.add_node()
    yield node
    cluster.remove_node(node)


def attempts(store: Store) -> list[dict[str, Any]]:
    """Logged attempts of the jobs of all runs."""
    return entries(store, "job")


def addresses(store: Path) -> set[str]:
    """Addresses of the runs of a store."""
    files = Store(store)
    return {files.read_json(path)["address"] for path in files.list("runs") if path.endswith("/run.json")}


@pytest.mark.slow
def test_two_drivers_of_two_clusters_in_one_store_give_the_records_of_one_process(
    expected: FinishedRun, tmp_path: Path, cluster: Cluster, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    """The first waits before its evaluations until the second, on a new cluster, has made some."""
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    on_shared_cluster = start(expected.recipe_path, store, gate=gate, **on_cluster)
    on_shared_cluster.until(gate.waiting)
    on_own_cluster = start(expected.recipe_path, store, address="local", environment=ELSEWHERE)
    on_own_cluster.until(lambda: list(store.glob("records/evaluations/*.json")))
    gate.open()
    stderr = [run.finish() for run in (on_shared_cluster, on_own_cluster)]
    assert addresses(store) == {cluster.address, "local"}
    assert "by another run in this store" in stderr[0]
    assert results(store) == results(expected.store)


@pytest.mark.thorough("runs on a cluster, which it damages")
def test_a_model_of_two_shards_gives_the_same_records_even_if_a_shard_is_killed(
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
    run.finish()
    store = Store(tmp_path / "store")
    allowed = [one_worker_of_shards.parent / PLUGIN_FILE]
    assert pending_jobs(build_plan(load_recipe(one_worker_of_shards, allowed_plugins=allowed)).jobs, store) == []
    rows = attempts(store)
    assert any(row["status"] == "lost" for row in rows)
    blocks = {record_id for _, record_id in store.record_names("mask_blocks")}
    assert len({row["worker"] for row in rows if row["record_id"] in blocks}) > 1, "both shards order blocks"
    files, same = shared_results(store), shared_results(expected.store)
    assert [path for path in files if files[path] != same.get(path)] == []


def test_a_killed_driver_loses_nothing_and_a_killed_worker_costs_only_its_job(
    expected: FinishedRun, one_worker: Path, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "prune")
    run = start(one_worker, store, gate=gate, **on_cluster)
    run.until(gate.waiting)
    run.send(signal.SIGKILL)
    run.end()
    assert 0 < len(results(store)) < len(results(expected.store))

    second_gate = Gate.closed(tmp_path / "another-gate", "evaluate")
    again = start(one_worker, store, gate=second_gate, **on_cluster)
    again.until(second_gate.waiting)
    os.kill(second_gate.waiting()[0], signal.SIGKILL)
    second_gate.open()
    again.finish()
    assert any(row["status"] == "lost" for row in attempts(Store(store)))
    assert results(store) == results(expected.store)


@pytest.mark.thorough("runs on a cluster, which it damages")
def test_a_worker_that_is_stopped_in_a_job_is_replaced_and_a_busy_one_is_not(
    expected: FinishedRun, one_worker: Path, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    environment = {**on_cluster.get("environment", {}), SILENT_AFTER_VARIABLE: "3"}
    run = start(one_worker, store, gate=gate, **{**on_cluster, "environment": environment})
    run.until(gate.waiting)
    (stopped,) = (psutil.Process(pid) for pid in gate.waiting())
    stopped.suspend()
    run.until(lambda: not is_running(stopped))
    gate.open()
    run.finish()
    (lost,) = (row for row in attempts(Store(store)) if row["status"] != "done")
    assert lost["status"] == "lost"
    assert results(store) == results(expected.store)


@pytest.mark.slow
def test_a_sweep_that_loses_a_worker_that_shares_it_gives_the_same_records(
    expected: FinishedRun, tmp_path: Path, cluster: Cluster, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    store = copy_of(expected.store, tmp_path / "store")
    job = next(job for job in expected.plan.jobs if isinstance(job, SweepJob))
    blocks = [block_identity(job.variant.id, n, parents={"variant": job.variant.id}).key for n in range(3)]
    for key in (*job.makes, *blocks):
        (tmp_path / "store" / record_path(*key)).unlink(missing_ok=True)
    gate = Gate.closed(tmp_path / "gate", "sweep")
    run = start(expected.recipe_path, tmp_path / "store", gate=gate, **on_cluster)
    run.until(gate.waiting)
    sharing = [one for one in cluster.processes("WorkerActor") if one.pid not in gate.waiting()]
    for process in sharing:
        process.kill()
    gate.open()
    run.finish()
    assert len(sharing) == 1
    assert {row["status"] for row in attempts(store)} == {"done"}
    assert results(store) == results(expected.store)


def held_on(node: Node, gate: Gate) -> list[psutil.Process]:
    """The workers of a node whose jobs wait at a gate."""
    waiting = gate.waiting()
    return [process for process in node.family() if process.pid in waiting]


def is_running(process: psutil.Process) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_a_run_continues_on_other_nodes_after_a_raylet_is_killed(
    expected: FinishedRun, third_node: Node, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    """Slow because it starts a node and three workers; by default a worker, a shard and a driver are killed."""
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    run = start(expected.recipe_path, store, gate=gate, **on_cluster)
    run.until(lambda: held_on(third_node, gate))
    workers = held_on(third_node, gate)
    third_node.kill_raylet()
    run.until(lambda: not any(map(is_running, workers)))  # a worker may outlive its raylet by some seconds
    gate.open()
    run.finish()
    assert any(row["status"] == "lost" for row in attempts(Store(store)))
    assert results(store) == results(expected.store)


@pytest.mark.slow
def test_a_node_that_joins_gets_a_worker_which_ends_after_its_job_when_the_node_is_about_to_leave(
    expected: FinishedRun, cluster: Cluster, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", "evaluate")
    run = start(expected.recipe_path, store, gate=gate, **on_cluster)
    run.until(gate.waiting)
    node = cluster.add_node()
    try:
        run.until(lambda: held_on(node, gate))
        node.process.terminate()  # as Kubernetes does: Ray then drains the node, but its job is held
        run.until(lambda: "is about to leave" in run.stderr())
        gate.open()
        run.finish()
    finally:
        cluster.remove_node(node)
    files = Store(store)
    assert {row["status"] for row in attempts(files)} == {"done"}, "the leaving node has finished its job"
    changes = entries(files, "pool")
    assert [change["n_replicas"] for change in changes][:2] == [2, 3]
    assert changes[-1]["n_replicas"] == 2
    assert results(store) == results(expected.store)


@pytest.mark.thorough("kills runs")
@pytest.mark.parametrize("step", [pytest.param("observe", marks=pytest.mark.slow), "evaluate"])
def test_a_killed_run_without_ray_is_resumed(step: str, expected: FinishedRun, tmp_path: Path, start: Start) -> None:
    store, gate = tmp_path / "store", Gate.closed(tmp_path / "gate", step)
    killed = start(expected.recipe_path, store, gate=gate, environment=ELSEWHERE)
    killed.until(gate.waiting)
    killed.send(signal.SIGKILL)
    killed.end()
    assert 0 < len(results(store)) < len(results(expected.store))
    start(expected.recipe_path, store).finish()
    assert results(store) == results(expected.store)


def _run_pickled(jobs: bytes, store: Path) -> None:
    """Main function of a process that was given no plug-in file: run pickled jobs, which need no model."""
    assert provided_files() == ()
    run_jobs(pickle.loads(jobs), Store(store), model=None)  # type: ignore[arg-type]


@pytest.mark.thorough("runs on a cluster, which it damages")
def test_a_pickled_job_brings_its_plugin_file_to_a_fresh_process(expected: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(expected.store, tmp_path / "store")
    jobs = [job for job in expected.plan.jobs if job.step == "prune" and b"my_score.py" in pickle.dumps(job)]
    jobs = [job for job in jobs if not job.needs_chain]
    made = [key for job in jobs for key in job.makes]
    assert {kind for kind, _ in made} >= {"variants"}
    for key in made:
        (tmp_path / "store" / record_path(*key)).unlink()
    process = CONTEXT.Process(target=_run_pickled, args=(pickle.dumps(jobs), tmp_path / "store"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert results(store) == results(expected.store)


def clear(folder: Path) -> None:
    """Remove what a folder contains."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.thorough("runs on a cluster")
def test_a_distribution_that_nodes_lack_is_refused_by_name_and_works_once_they_have_it(
    expected: FinishedRun, cluster: Cluster, tmp_path: Path, *, start: Start, on_cluster: dict[str, Any]
) -> None:
    """The driver alone has the distribution, then the nodes have another version of it, then the same one."""
    folder = copied_inputs(expected.folder, tmp_path / "inputs")
    recipe = {**small_recipe(), "evaluations": [], "compute": {"batch_tokens": 128, "replicas": 1}}
    recipe["variants"] = [{"score": "cubed", "demonstrations": "mt", "sparsity": 0.5, "propagation": "dense"}]
    path = write_recipe(folder, recipe)
    text, points = CUBIC.replace('name="cubic"', 'name="cubed"'), {"mlprune.scores": {"cubed": "cubed_scores:CUBIC"}}
    install = partial(write_distribution, entry_points=points, name="cubed-scores")
    with on_path(tmp_path / "site") as site:
        install(site, {"cubed_scores.py": text}, version="1.1")
        alone = run_in_process(path, tmp_path / "alone")
    for got in ("not installed", "cubed-scores 1.0"):
        with pytest.raises(AssertionError) as refused:
            start(path, tmp_path / "store", site=site, **on_cluster).finish()
        for words in (got, "score='cubed'", "cubed-scores 1.1", "node=", "pip install"):
            assert words in str(refused.value)
        assert not (tmp_path / "store" / "records").exists()
        clear(cluster.site)
        install(cluster.site, {"cubed_scores.py": text}, version="1.0" if got == "not installed" else "1.1")
    start(path, tmp_path / "store", site=site, **on_cluster).finish()
    clear(cluster.site)
    assert results(tmp_path / "store") == results(alone.store)
