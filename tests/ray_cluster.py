"""A real Ray cluster on this machine, of as many nodes as a test asks for: every process and port its own.

The dashboard is on loopback. Other ports of Ray's listen on all addresses as soon as a cluster may have more than one
node; the token keeps strangers out.
"""

import json
import os
import random
import secrets
import shutil
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
PATIENCE_S = 240
STOP_WAIT_S = 20
TRIES = 3
HEALTH = {"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "500"}
"""A dead node is noticed within seconds; one that is only slow still has Ray's ten seconds for each answer."""


class Node:
    """A node: the `ray start --block` that started it, and all that descends from that.

    Args:
        process: that command.
        log: what it prints.
        temp_dir: Ray's folder, its own. Nodes of one folder would unpack a job's working directory into one place, and
            Ray removes it for a moment when the second of them unpacks.
    """

    def __init__(self, process: subprocess.Popen[str], *, log: Path, temp_dir: Path) -> None:
        self.process = process
        self.log = log
        self.temp_dir = temp_dir

    def family(self) -> list[psutil.Process]:
        """Its processes."""
        return family(self.process.pid) if self.process.poll() is None else []

    def kill_raylet(self) -> None:
        """Kill -9 of its raylet: the node is gone, with all its workers."""
        (raylet,) = (one for one in self.family() if one.name() == "raylet")
        raylet.kill()


class Cluster:
    """A head with a dashboard, and the nodes that joined it; each has one CPU."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mlp-"))  # short: paths of sockets may have 107 bytes
        self.token = secrets.token_hex(16)
        self.nodes: list[Node] = []
        self.dashboard = f"http://{LOOPBACK}:{free_ports(1)[0]}"
        self.address = ""
        """Where drivers find it."""
        self.settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        """What the environment of its drivers has to say."""
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            **self.settings,
            **HEALTH,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
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

    def add_node(self) -> Node:
        """Start a node that joins the head."""
        node = self._start_node(f"--address={self.address}")
        assert node.process.poll() is None, node.log.read_text()
        return node

    def remove_node(self, node: Node) -> None:
        """End a node and wait until nothing is left of it."""
        self.nodes.remove(node)
        end_nodes([node])

    def _start_node(self, *options: str) -> Node:
        """Start a node; again if it ended at once, as Ray lets a node end that takes half a minute to start."""
        for _ in range(TRIES - 1):
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
            process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, start_new_session=True)
        node = Node(process, log=log, temp_dir=temp_dir)
        self.nodes.append(node)
        wait_for(lambda: "--block" in log.read_text() or process.poll() is not None, log.read_text)
        return node

    def close(self) -> None:
        """End what was started here and nothing else, as `ray stop` would end all of Ray."""
        end_nodes(self.nodes)
        shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self, title: str) -> list[psutil.Process]:
        """Its processes whose title has these words, as Ray titles its actors."""
        return [one for node in self.nodes for one in node.family() if title in " ".join(title_of(one))]

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


def end_nodes(nodes: list[Node]) -> None:
    """End nodes, the last one first, with all their processes."""
    ours = [one for node in nodes for one in node.family()]
    for node in reversed(nodes):
        if node.process.poll() is None:
            node.process.terminate()  # `ray start --block` ends its processes
    _, left = psutil.wait_procs(ours, timeout=10)
    for process in left:
        process.kill()
    for node in nodes:
        node.process.wait(PATIENCE_S)


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
    condition: Callable[[], object], story: Callable[[], str], *, alive: subprocess.Popen[str] | None = None
) -> None:
    """Wait until something holds; if it never does, or who was to bring it about has ended, tell the story."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up, story()
        assert alive is None or alive.poll() is None, story()
        time.sleep(0.05)
