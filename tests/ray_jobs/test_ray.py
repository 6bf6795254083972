"""The same recipe over real Ray: the same bytes as in one process, whatever is killed on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlprune.storage import Store
from tests.tiny_recipes import FinishedRun, contents, small_recipe, tiny_recipe, write_recipe

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[2]
PATIENCE_S = 240


def start(recipe: Path, store: Path, *, address: str = "local") -> subprocess.Popen[str]:
    """Start a run in a process of its own, at the head of its own process group."""
    elsewhere = {"RAY_ADDRESS": "127.0.0.1:1"}  # `local` and `none` have nothing to do with it
    environment = {**os.environ, **elsewhere, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ray_jobs.cli", "run", str(recipe), "--store", str(store), "--address", address]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen(command, env=environment, **options)


def finish(recipe: Path, store: Path, *, address: str = "local") -> None:
    """Run to the end."""
    process = start(recipe, store, address=address)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors[-3000:]


def results(store: Path) -> dict[str, bytes]:
    """All records and artefacts; how a run went and the catalog's file are not results."""
    found = contents(Store(store))
    return {path: data for path, data in found.items() if not path.startswith(("runs/", "catalog.duckdb"))}


def wait_for_files(store: Path, pattern: str, n: int) -> None:
    """Wait until a run has written so many files of a kind."""
    give_up = time.monotonic() + PATIENCE_S
    while len(list(store.glob(pattern))) < n:
        assert time.monotonic() < give_up, f"no {n} files {pattern}"
        time.sleep(0.02)


def worker_processes(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """Processes of the worker actors of a driver's own Ray."""
    children = psutil.Process(driver.pid).children(recursive=True)
    return [one for one in children if "WorkerActor" in " ".join(one.cmdline())]


@pytest.fixture
def driver_left_behind() -> Iterator[list[subprocess.Popen[str]]]:
    """Drivers to be ended, with all their processes, whatever the test does."""
    drivers: list[subprocess.Popen[str]] = []
    yield drivers
    for driver in drivers:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)


def test_ray_gives_the_records_and_artefacts_of_one_process(tiny_run: FinishedRun, tmp_path: Path) -> None:
    finish(tiny_run.recipe_path, tmp_path / "store")
    assert tiny_run.store.local_root is not None
    assert results(tmp_path / "store") == results(tiny_run.store.local_root)


def test_a_model_cut_into_shards_gives_the_same_records(tiny_run: FinishedRun, tmp_path: Path) -> None:
    recipe = {**tiny_recipe(), "compute": {"batch_tokens": 128, "shards": 2, "replicas": 1}}
    finish(write_recipe(tiny_run.folder, recipe, name="sharded.yaml"), tmp_path / "store")
    assert tiny_run.store.local_root is not None
    assert results(tmp_path / "store") == results(tiny_run.store.local_root)


def test_a_killed_driver_loses_nothing(
    small_run: FinishedRun, tmp_path: Path, driver_left_behind: list[subprocess.Popen[str]]
) -> None:
    store = tmp_path / "store"
    driver_left_behind.append(start(small_run.recipe_path, store))
    wait_for_files(store, "records/*/*.json", 8)
    driver_left_behind[0].kill()
    driver_left_behind[0].wait()
    finish(small_run.recipe_path, store)
    assert small_run.store.local_root is not None
    assert results(store) == results(small_run.store.local_root)


def test_a_killed_worker_costs_only_its_job(
    small_run: FinishedRun, tmp_path: Path, driver_left_behind: list[subprocess.Popen[str]]
) -> None:
    store = tmp_path / "store"
    driver = start(small_run.recipe_path, store)
    driver_left_behind.append(driver)
    wait_for_files(store, "records/demonstration_sets/*.json", 1)
    for worker in worker_processes(driver):
        worker.kill()
    _, errors = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 0, errors[-3000:]
    assert "a worker died" in errors
    assert small_run.store.local_root is not None
    assert results(store) == results(small_run.store.local_root)


@pytest.mark.parametrize("n_files", [3, 12])
def test_one_process_killed_at_any_moment_goes_on_where_it_was(
    n_files: int, small_run: FinishedRun, tmp_path: Path, driver_left_behind: list[subprocess.Popen[str]]
) -> None:
    store = tmp_path / "store"
    driver_left_behind.append(start(small_run.recipe_path, store, address="none"))
    wait_for_files(store, "records/*/*.json", n_files)
    driver_left_behind[0].kill()
    driver_left_behind[0].wait()
    finish(small_run.recipe_path, store, address="none")
    assert small_run.store.local_root is not None
    assert results(store) == results(small_run.store.local_root)


def test_small_recipe_is_what_these_tests_think(small_run: FinishedRun) -> None:
    assert small_run.plan.recipe.name == small_recipe()["name"]
    assert len(list(small_run.store.record_names())) > 12
