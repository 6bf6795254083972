"""`ray job submit` against a real cluster of two nodes on this machine: token on, dashboard on loopback."""

import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.tiny_recipes import FinishedRun, contents, copied_inputs, small_recipe, tiny_recipe, write_recipe

pytestmark = [pytest.mark.ray, pytest.mark.slow]  # a minute, and on a busy machine not every time
ROOT = Path(__file__).parents[2]
PACKAGES = ("mlprune", "catalog", "ray_jobs")
BESIDE = (".rayignore", ".gitignore", "infra/recipes", "infra/check.sh", "docs/README.md", "tests/conftest.py")
HEAVY = (".venv/lib/torch.so", ".git/objects/pack", "my-store/statistics.parquet", "runs/catalog.duckdb")
LOOPBACK = "127.0.0.1"
PATIENCE_S = 240
MAX_WORKING_DIR_BYTES = 20e6
STOP_WAIT_S = 20


class Cluster:
    """A Ray cluster whose processes are all ours: its ports, its token, its folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlp-"))  # short: paths of sockets may have 107 bytes
        self.token = secrets.token_hex(16)
        self.marks = self.folder / "marks"
        self.marks.mkdir()
        self._nodes: list[subprocess.Popen[str]] = []
        dashboard, *self._ports = free_ports(4)
        self.dashboard = f"http://{LOOPBACK}:{dashboard}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
            "RAY_USAGE_STATS_ENABLED": "0",
            "NO_COLOR": "1",
        }

    def start(self) -> None:
        """Start the head, then a second raylet that joins it."""
        client, agent, second_agent = self._ports
        dashboard = self.dashboard.rpartition(":")[2]
        head = ("--head", "--port=0", f"--temp-dir={self.folder}", f"--ray-client-server-port={client}")
        served = (f"--dashboard-host={LOOPBACK}", f"--dashboard-port={dashboard}")
        log = self._start_node(*head, *served, f"--dashboard-agent-listen-port={agent}", "--disable-usage-stats")
        address = log.partition("--address='")[2].partition("'")[0]
        self._start_node(f"--address={address}", f"--dashboard-agent-listen-port={second_agent}")

    def _start_node(self, *options: str) -> str:
        """Start a node of one CPU, wait until it runs, and return what it printed."""
        log = self.folder / f"node-{len(self._nodes)}.log"
        size = ("--num-cpus=1", "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0")
        size = (*size, "--include-log-monitor=false", "--no-monitor")
        command = ["ray", "start", "--block", f"--node-ip-address={LOOPBACK}", *size, *options]
        with log.open("w") as out:
            node = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, start_new_session=True)
        self._nodes.append(node)
        wait_for(lambda: "Ray runtime started" in log.read_text(), log.read_text, alive=node)
        wait_for(lambda: "--block" in log.read_text(), log.read_text, alive=node)
        return log.read_text()

    def close(self) -> None:
        """End what was started here and nothing else, as `ray stop` would end all of Ray."""
        ours = [one for node in self._nodes if node.poll() is None for one in family(node.pid)]
        for node in reversed(self._nodes):
            node.terminate()  # `ray start --block` ends its processes
        _, left = psutil.wait_procs(ours, timeout=10)
        for process in left:
            process.kill()
        for node in self._nodes:
            node.wait(PATIENCE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, path: str, *, token: str | None = None) -> Any:
        """What the dashboard answers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib.request.urlopen(
            urllib.request.Request(self.dashboard + path, headers=headers), timeout=30
        ) as reply:
            return json.load(reply)

    def job(self, submission_id: str) -> dict[str, Any]:
        """What the cluster knows about a job: status, message, driver_exit_code, driver_info."""
        details: dict[str, Any] = self.get(f"/api/jobs/{submission_id}", token=self.token)
        return details

    def actors(self, submission_id: str) -> list[dict[str, Any]]:
        """The actors that a job started, alive or not."""
        ray_id = (self.job(submission_id)["driver_info"] or {}).get("id")
        found = self.get("/api/v0/actors?detail=true&limit=1000", token=self.token)["data"]["result"]["result"]
        return [one for one in found if one["job_id"] == ray_id and one["class_name"] != "JobSupervisor"]

    def submit(self, working_dir: Path, submission_id: str, *arguments: str) -> subprocess.Popen[str]:
        """Start the command of the documentation in a working directory."""
        name = ("--submission-id", submission_id)
        command = ["ray", "job", "submit", *name, "--working-dir", ".", "--", "python", "ray_jobs/run.py", *arguments]
        return self.ray(command, cwd=working_dir)

    def ray(self, command: list[str], *, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a command that talks to the dashboard."""
        environment = {**self.environment, "RAY_API_SERVER_ADDRESS": self.dashboard}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=environment, cwd=cwd, **options)


class Ended(NamedTuple):
    """A submission that has ended."""

    submission_id: str
    returncode: int
    output: str
    store: Path


def free_ports(n: int) -> list[int]:
    """Ports nobody has, below those that the system gives out by itself."""
    held: list[socket.socket] = []
    while len(held) < n:
        one = socket.socket()
        try:
            one.bind(("", random.randrange(20000, 32000)))
        except OSError:
            one.close()
        else:
            held.append(one)
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def family(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def wait_for(
    condition: Callable[[], bool], story: Callable[[], str], *, alive: subprocess.Popen[str] | None = None
) -> None:
    """Wait until something holds; if it never does, or who was to bring it about has ended, tell the story."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, story()
        assert alive is None or alive.poll() is None, story()
        time.sleep(0.05)


def results(store: Path) -> dict[str, bytes]:
    """All records and artefacts of a store."""
    from mlprune.storage import Store  # noqa: PLC0415

    found = contents(Store(str(store)))
    return {path: data for path, data in found.items() if not path.startswith(("runs/", "catalog.duckdb", "claims/"))}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each."""
    one = Cluster()
    try:
        one.start()
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def folder(cluster: Cluster, tiny_inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with recipes, their inputs, and what must stay at home; not installed anywhere.

    Every process that imports mlprune from it leaves its number in the cluster's marks.
    """
    path = tmp_path_factory.mktemp("repository")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, path / name)
    for heavy in HEAVY:
        (path / heavy).parent.mkdir(parents=True, exist_ok=True)
        with (path / heavy).open("wb") as file:
            file.truncate(int(2 * MAX_WORKING_DIR_BYTES))
    with (path / "mlprune" / "__init__.py").open("a") as file:
        leave = f"(pathlib.Path({str(cluster.marks)!r}) / str(os.getpid())).write_text(__file__)"
        file.write(f"\nimport os, pathlib\n{leave}\n")
    inputs = copied_inputs(tiny_inputs, path / "inputs")
    write_recipe(inputs, small_recipe(), name="small.yaml")
    write_recipe(inputs, tiny_recipe(), name="tiny.yaml")
    write_recipe(inputs, {**small_recipe(), "corpus": {"kind": "parallel_text", "path": "nowhere"}}, name="bad.yaml")
    return path


@pytest.fixture(scope="module")
def ended(cluster: Cluster, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """A good recipe and a bad one, submitted at the same time and waited for."""
    stores = tmp_path_factory.mktemp("stores")
    running = {
        name: cluster.submit(folder, name, f"inputs/{name}.yaml", "--store", str(stores / name))
        for name in ("small", "bad")
    }
    outputs = {name: process.communicate(timeout=PATIENCE_S)[0] for name, process in running.items()}
    return {name: Ended(name, process.returncode, outputs[name], stores / name) for name, process in running.items()}


@pytest.fixture(scope="module")
def good(ended: dict[str, Ended]) -> Ended:
    """The good one, which ended well."""
    assert ended["small"].returncode == 0, ended["small"].output
    return ended["small"]


def test_a_submitted_job_ends_with_0_and_the_records_of_one_process(
    cluster: Cluster, good: Ended, small_run: FinishedRun
) -> None:
    assert cluster.job(good.submission_id)["status"] == "SUCCEEDED"
    assert cluster.job(good.submission_id)["driver_exit_code"] == 0
    assert small_run.store.local_root is not None
    assert results(good.store) == results(small_run.store.local_root)


def test_the_log_of_a_job_tells_what_is_to_do_how_far_it_is_and_what_came_of_it(
    good: Ended, small_run: FinishedRun
) -> None:
    n_jobs = len(small_run.plan.jobs)
    (to_do,) = (line for line in good.output.splitlines() if f"{n_jobs} of {n_jobs} jobs to do" in line)
    assert "demonstrate" in to_do
    assert "compare" in to_do
    assert "demonstrate 1/1" in good.output
    assert f"{n_jobs} jobs done" in good.output


def test_actors_are_spread_over_the_nodes_and_run_the_submitted_code(cluster: Cluster, good: Ended) -> None:
    actors = [one for one in cluster.actors(good.submission_id) if one["node_id"]]  # those that were placed
    assert len({one["node_id"] for one in actors}) == 2
    marks = {int(path.name): path.read_text() for path in cluster.marks.iterdir()}
    assert {one["pid"] for one in actors} <= marks.keys()
    assert all("working_dir_files" in path for path in marks.values())


@pytest.mark.usefixtures("good")
def test_the_working_directory_is_small_and_holds_only_what_a_job_needs(cluster: Cluster) -> None:
    (package,) = cluster.folder.glob("session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    inside = {path.name for path in package.iterdir()}
    assert {*PACKAGES, "inputs"} <= inside
    assert not inside & {".git", ".venv", "docs", "tests", "my-store", "runs"}
    assert [path.name for path in (package / "infra").iterdir()] == ["recipes"]
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < MAX_WORKING_DIR_BYTES


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("another", 403)])
def test_without_the_token_the_dashboard_tells_nothing(cluster: Cluster, token: str | None, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        cluster.get("/api/jobs/", token=token)
    assert refused.value.code == status
    assert isinstance(cluster.get("/api/jobs/", token=cluster.token), list)


def test_a_bad_recipe_ends_with_2_and_one_line_before_any_actor_starts(
    cluster: Cluster, ended: dict[str, Ended]
) -> None:
    bad = ended["bad"]
    job = cluster.job(bad.submission_id)
    assert (bad.returncode, job["status"], job["driver_exit_code"]) == (1, "FAILED", 2)
    assert "failed with exit code 2" in bad.output
    (line,) = {one for one in bad.output.splitlines() if one.startswith("mlprune: ")}
    assert "nowhere" in line
    assert "Traceback" not in bad.output
    assert cluster.actors(bad.submission_id) == []
    assert not (bad.store / "records").exists()


@pytest.mark.slow
def test_a_stopped_job_leaves_a_store_that_the_same_submission_finishes(
    cluster: Cluster, folder: Path, tiny_run: FinishedRun, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    submitted = cluster.submit(folder, "stopped", "inputs/tiny.yaml", "--store", str(store))
    wait_for(lambda: len(list(store.glob("records/*/*.json"))) > 5, lambda: "no records", alive=submitted)
    workers = [psutil.Process(one["pid"]) for one in cluster.actors("stopped") if one["state"] == "ALIVE"]
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)  # they are in the middle of something for as long as the command takes
    stopped = cluster.ray(["ray", "job", "stop", "stopped"])
    said, _ = stopped.communicate(timeout=PATIENCE_S)
    submitted.communicate(timeout=PATIENCE_S)
    assert stopped.returncode == 0, said
    assert cluster.job("stopped")["status"] == "STOPPED"

    assert tiny_run.store.local_root is not None
    expected = results(tiny_run.store.local_root)
    assert results(store).keys() != expected.keys()
    again = cluster.submit(folder, "again", "inputs/tiny.yaml", "--store", str(store))
    output, _ = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, output
    assert results(store) == expected
