"""`ray job submit` to a real cluster of two nodes on this machine, with a token and a dashboard on loopback."""

import shutil
import signal
import urllib.error
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.ray_cluster import ROOT, TIMEOUT_S, Cluster, wait_for
from tests.tiny_recipes import FinishedRun, copied_inputs, results, small_recipe, write_recipe

pytestmark = [pytest.mark.ray, pytest.mark.thorough("submits jobs to a cluster")]
PACKAGES = ("mlprune", "catalog", "ray_jobs")
OTHER_FILES = (".rayignore", ".gitignore", "infra/recipes", "infra/check.sh", "docs/README.md", "tests/conftest.py")
HEAVY = (".venv/lib/torch.so", ".git/objects/pack", "my-store/statistics.parquet", "runs/catalog.duckdb")
MAX_WORKING_DIR_BYTES = 20e6


class Ended(NamedTuple):
    """A submission that has ended."""

    submission_id: str
    returncode: int
    output: str
    store: Path


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where every process that imports mlprune from a submitted folder writes a file named after its id."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def folder(marks: Path, tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with recipes, their inputs and large files that must not be uploaded; not installed."""
    path = tmp_path_factory.mktemp("repository")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in OTHER_FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, path / name)
    for heavy in HEAVY:
        (path / heavy).parent.mkdir(parents=True, exist_ok=True)
        with (path / heavy).open("wb") as file:
            file.truncate(int(2 * MAX_WORKING_DIR_BYTES))
    with (path / "mlprune" / "__init__.py").open("a") as file:
        write_mark = f"(pathlib.Path({str(marks)!r}) / str(os.getpid())).write_text(__file__)"
        file.write(f"\nimport os, pathlib\n{write_mark}\n")
    inputs = copied_inputs(tiny_inputs, path / "inputs")
    on_both_nodes = {"compute": {**small_recipe()["compute"], "shards": 2}}  # no job starts before both shards have
    write_recipe(inputs, {**small_recipe(), **on_both_nodes}, name="small.yaml")
    write_recipe(inputs, {**small_recipe(), "corpus": {"kind": "parallel_text", "path": "nowhere"}}, name="bad.yaml")
    return path


@pytest.fixture(scope="module")
def ended(cluster: Cluster, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """A good and a bad recipe, submitted at the same time, after both have ended."""
    stores = tmp_path_factory.mktemp("stores")
    running = {
        name: cluster.submit(folder, name, f"inputs/{name}.yaml", "--store", str(stores / name))
        for name in ("small", "bad")
    }
    outputs = {name: process.communicate(timeout=TIMEOUT_S)[0] for name, process in running.items()}
    return {name: Ended(name, process.returncode, outputs[name], stores / name) for name, process in running.items()}


@pytest.fixture(scope="module")
def good(ended: dict[str, Ended]) -> Ended:
    """The submission of the good recipe, which succeeded."""
    assert ended["small"].returncode == 0, ended["small"].output
    return ended["small"]


def test_a_submitted_job_succeeds_with_the_records_of_one_process(
    cluster: Cluster, good: Ended, small_run: FinishedRun
) -> None:
    assert cluster.job(good.submission_id)["status"] == "SUCCEEDED"
    assert cluster.job(good.submission_id)["driver_exit_code"] == 0
    assert results(good.store) == results(small_run.store)


def test_the_log_of_a_job_shows_the_plan_the_progress_and_the_result(good: Ended, small_run: FinishedRun) -> None:
    n_jobs = len(small_run.plan.jobs)
    lines = good.output.splitlines()
    assert sum(f"{n_jobs} of {n_jobs} jobs to do" in line for line in lines) == 1
    assert any(f"100 %  {n_jobs}/{n_jobs} jobs" in line for line in lines)
    assert f"{n_jobs} jobs done" in good.output
    assert "Accuracy outside English" in good.output


def test_actors_are_spread_over_the_nodes_and_run_the_submitted_code(
    cluster: Cluster, good: Ended, marks: Path
) -> None:
    actors = [actor for actor in cluster.actors(good.submission_id) if actor["node_id"]]  # that were placed
    assert len({actor["node_id"] for actor in actors}) == 2
    imported = {int(path.name): path.read_text() for path in marks.iterdir()}
    assert {actor["pid"] for actor in actors} <= imported.keys()
    assert all("working_dir_files" in path for path in imported.values())


@pytest.mark.usefixtures("good")
def test_the_working_directory_is_small_and_has_only_the_files_a_job_needs(cluster: Cluster) -> None:
    packages = list(cluster.folder.glob("*/session_2*/runtime_resources/working_dir_files/_ray_pkg_*/"))
    assert len(packages) == 2  # one on each node
    for package in packages:
        inside = {path.name for path in package.iterdir()}
        assert {*PACKAGES, "inputs"} <= inside
        assert not inside & {".git", ".venv", "docs", "tests", "my-store", "runs"}
        assert [path.name for path in (package / "infra").iterdir()] == ["recipes"]
        assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < MAX_WORKING_DIR_BYTES


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("another", 403)])
def test_without_the_token_the_dashboard_refuses(cluster: Cluster, token: str | None, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        cluster.get("/api/jobs/", token=token)
    assert refused.value.code == status
    assert isinstance(cluster.get("/api/jobs/", token=cluster.token), list)


def test_a_bad_recipe_fails_with_exit_code_2_and_one_line_before_any_actor_starts(
    cluster: Cluster, ended: dict[str, Ended]
) -> None:
    bad = ended["bad"]
    job = cluster.job(bad.submission_id)
    assert (bad.returncode, job["status"], job["driver_exit_code"]) == (1, "FAILED", 2)
    assert "failed with exit code 2" in bad.output
    (line,) = {line for line in bad.output.splitlines() if line.startswith("mlprune: ")}
    assert "nowhere" in line
    assert "Traceback" not in bad.output
    assert cluster.actors(bad.submission_id) == []
    assert not (bad.store / "records").exists()


@pytest.mark.slow
def test_a_stopped_job_is_finished_by_submitting_it_again(
    cluster: Cluster, folder: Path, small_run: FinishedRun, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    submitted = cluster.submit(folder, "stopped", "inputs/small.yaml", "--store", str(store))
    wait_for(lambda: len(list(store.glob("records/*/*.json"))) > 5, lambda: "no records", alive=submitted)
    actors = [actor for actor in cluster.actors("stopped") if actor["state"] == "ALIVE"]
    workers = [psutil.Process(actor["pid"]) for actor in actors]
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)  # they stay in the middle of a job while the command runs
    stopped = cluster.ray(["ray", "job", "stop", "stopped"])
    output, _ = stopped.communicate(timeout=TIMEOUT_S)
    submitted.communicate(timeout=TIMEOUT_S)
    assert stopped.returncode == 0, output
    assert cluster.job("stopped")["status"] == "STOPPED"

    assert results(store).keys() != results(small_run.store).keys()
    again = cluster.submit(folder, "again", "inputs/small.yaml", "--store", str(store))
    output, _ = again.communicate(timeout=TIMEOUT_S)
    assert again.returncode == 0, output
    assert results(store) == results(small_run.store)


@pytest.mark.slow
def test_a_run_with_failed_jobs_has_exit_code_3_and_submitting_it_again_retries_them(
    cluster: Cluster, folder: Path, small_run: FinishedRun, tmp_path: Path
) -> None:
    """Writing masks fails because no process can write to their folder."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "masks").symlink_to("/proc/driver")
    failed = cluster.submit(folder, "failed", "inputs/small.yaml", "--store", str(store))
    output, _ = failed.communicate(timeout=TIMEOUT_S)
    assert (failed.returncode, cluster.job("failed")["driver_exit_code"]) == (1, 3), output
    assert " failed and " in output
    (store / "masks").unlink()
    again = cluster.submit(folder, "repaired", "inputs/small.yaml", "--store", str(store))
    output, _ = again.communicate(timeout=TIMEOUT_S)
    assert again.returncode == 0, output
    assert results(store) == results(small_run.store)
