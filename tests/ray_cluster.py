"""A real Ray cluster on this machine, with processes and ports of its own.

The dashboard listens on loopback. Other ports of Ray listen on all addresses as soon as a cluster may have more than
one node; a token protects them.
"""

import ctypes
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
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
LOOPBACK = "127.0.0.1"
TIMEOUT_S = 900
STOP_WAIT_S = 20
MAX_ATTEMPTS = 3
HEALTH = {"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "500"}
"""Ray notices a dead node within seconds; a slow node still has ten seconds for each answer."""
PR_SET_PDEATHSIG = 1
"""Of `linux/prctl.h`."""
LIBC = ctypes.CDLL(None)


class Node:
    """A node: the process of `ray start --block` and its descendants.

    Args:
        process: the command.
        log: its output.
        temp_dir: Ray's folder. Nodes that share one would unpack the working directory of a job into the same folder,
            which Ray removes for a moment when the second node unpacks.
    """

    def __init__(self, process: subprocess.Popen[str], *, log: Path, temp_dir: Path) -> None:
        self.process = process
        self.log = log
        self.temp_dir = temp_dir

    def family(self) -> list[psutil.Process]:
        """The processes of the node."""
        return family(self.process.pid) if self.process.poll() is None else []

    def kill_raylet(self) -> None:
        """Kill the raylet: the node is lost with all its workers."""
        (raylet,) = (process for process in self.family() if process.name() == "raylet")
        raylet.kill()


class Cluster:
    """A head with a dashboard and the nodes that joined it, with one CPU each."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlp-"))  # short, because socket paths are limited to 107 bytes
        self.site = self.folder / "site"
        """On the path of all nodes: a test may install distributions there."""
        self.site.mkdir()
        self.token = secrets.token_hex(16)
        self.nodes: list[Node] = []
        self.dashboard = f"http://{LOOPBACK}:{free_ports(1)[0]}"
        self.address = ""
        """Address for drivers."""
        self.settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        """Environment variables for drivers."""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            **self.settings,
            **HEALTH,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.site}",
            "NO_COLOR": "1",
        }

    def start(self) -> None:
        """Start the head."""
        dashboard = self.dashboard.rpartition(":")[2]
        served = (f"--dashboard-host={LOOPBACK}", f"--dashboard-port={dashboard}")
        (client,) = free_ports(1)
        head = self._start_node("--head", "--port=0", f"--ray-client-server-port={client}", *served)
        assert head.process.poll() is None, head.log.read_text()
        self.address = head.log.read_text().partition("--address='")[2].partition("'")[0]

    def require_nodes(self) -> None:
        """Fail with the log of a node that has ended, whose loss a test would notice only after a timeout."""
        for node in self.nodes:
            assert node.process.poll() is None, node.log.read_text()

    def add_node(self) -> Node:
        """Start a node that joins the head."""
        self.require_nodes()
        node = self._start_node(f"--address={self.address}")
        assert node.process.poll() is None, node.log.read_text()
        return node

    def remove_node(self, node: Node) -> None:
        """End a node and wait for all of its processes."""
        self.nodes.remove(node)
        end_nodes([node])

    def _start_node(self, *options: str) -> Node:
        """Start a node; retry if it ends at once, as nodes do that take half a minute to start."""
        for _ in range(MAX_ATTEMPTS - 1):
            node = self._try_node(*options)
            if node.process.poll() is None:
                return node
            self.remove_node(node)
        return self._try_node(*options)

    def _try_node(self, *options: str) -> Node:
        """Start a node and wait until it runs or has ended."""
        number = len(list(self.folder.iterdir()))
        temp_dir = self.folder / str(number)
        temp_dir.mkdir()
        log = temp_dir / "node.log"
        (agent,) = free_ports(1)
        size = ("--num-cpus=1", "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0")
        place = (f"--node-ip-address={LOOPBACK}", f"--temp-dir={temp_dir}", f"--dashboard-agent-listen-port={agent}")
        quiet = ("--include-log-monitor=false", "--no-monitor", "--disable-usage-stats")
        command = ["ray", "start", "--block", *size, *place, *quiet, *options]
        with log.open("w") as out:
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it only makes a system call
            )
        head = self.nodes[0] if self.nodes else None
        node = Node(process, log=log, temp_dir=temp_dir)
        self.nodes.append(node)
        wait_for(
            lambda: "--block" in log.read_text() or process.poll() is not None,
            lambda: "\n".join(one.log.read_text() for one in self.nodes),
            alive=head and head.process,
        )
        return node

    def close(self) -> None:
        """End the processes of this cluster only; `ray stop` would end every Ray on this machine."""
        end_nodes(self.nodes)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self, title: str) -> list[psutil.Process]:
        """Processes whose title contains a text; Ray sets the titles of actors."""
        processes = (process for node in self.nodes for process in node.family())
        return [process for process in processes if title in " ".join(title_of(process))]

    def get(self, path: str, *, token: str | None = None) -> Any:
        """Request a path of the dashboard."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib.request.urlopen(
            urllib.request.Request(self.dashboard + path, headers=headers), timeout=TIMEOUT_S
        ) as reply:
            return json.load(reply)

    def job(self, submission_id: str) -> dict[str, Any]:
        """The dashboard's entry of a job: status, message, driver_exit_code, driver_info."""
        details: dict[str, Any] = self.get(f"/api/jobs/{submission_id}", token=self.token)
        return details

    def actors(self, submission_id: str) -> list[dict[str, Any]]:
        """The actors that a job started, alive or dead."""
        ray_id = (self.job(submission_id)["driver_info"] or {}).get("id")
        actors = self.get("/api/v0/actors?detail=true&limit=1000", token=self.token)["data"]["result"]["result"]
        return [actor for actor in actors if actor["job_id"] == ray_id and actor["class_name"] != "JobSupervisor"]

    def submit(self, working_dir: Path, submission_id: str, *arguments: str) -> subprocess.Popen[str]:
        """Run `ray job submit` in a working directory, as documented."""
        name = ("--submission-id", submission_id)
        command = ["ray", "job", "submit", *name, "--working-dir", ".", "--", "python", "ray_jobs/run.py", *arguments]
        return self.ray(command, cwd=working_dir)

    def ray(self, command: list[str], *, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start a command that talks to the dashboard."""
        environment = {**self.environment, "RAY_API_SERVER_ADDRESS": self.dashboard}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, env=environment, cwd=cwd, **options)


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """A cluster of two nodes."""
    cluster = Cluster()
    try:
        cluster.start()
        cluster.add_node()
        yield cluster
    finally:
        cluster.close()


def end_with_parent() -> None:
    """Have this process terminated when the tests end, even if they are killed and run no clean-up."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_nodes(nodes: list[Node]) -> None:
    """End nodes, the last one first, with all their processes."""
    processes = [process for node in nodes for process in node.family()]
    for node in reversed(nodes):
        if node.process.poll() is None:
            node.process.terminate()  # `ray start --block` then ends its processes
    _, alive = psutil.wait_procs(processes, timeout=10)
    for process in alive:
        process.kill()
    for node in nodes:
        node.process.wait(TIMEOUT_S)


def free_ports(n: int) -> list[int]:
    """Find free ports below the range that the system assigns."""
    sockets: list[socket.socket] = []
    while len(sockets) < n:
        candidate = socket.socket()
        try:
            candidate.bind(("", random.randrange(20000, 32000)))
        except OSError:
            candidate.close()
        else:
            sockets.append(candidate)
    ports = [used.getsockname()[1] for used in sockets]
    for used in sockets:
        used.close()
    return ports


def family(pid: int) -> list[psutil.Process]:
    """A process and all of its descendants."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def title_of(process: psutil.Process) -> list[str]:
    """Command line of a process; empty if it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def wait_for(
    condition: Callable[[], object], explain: Callable[[], str], *, alive: subprocess.Popen[str] | None = None
) -> None:
    """Wait until a condition is true; fail with an explanation after a timeout or when a process has ended."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, explain()
        assert alive is None or alive.poll() is None, explain()
        time.sleep(0.05)
