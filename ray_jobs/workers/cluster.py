"""Connect to Ray, list the resources of its nodes, and start tasks that examine one node."""

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

import ray
from ray import ObjectRef
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mlprune.errors import BadInputError
from mlprune.network import connection_problem
from mlprune.planning.resources.node_capacity import Gpu, Node
from ray_jobs.process.gpus import assigned_gpus
from ray_jobs.process.signals import ignore_signals, preserve_signal_handlers
from ray_jobs.workers.node_resources import LocalRay, local_ray_bytes, n_cpus

logger = logging.getLogger(__name__)
CLIENT_SCHEME = "ray://"
CLIENT_PORT, GCS_PORT = 10001, 6379
"""Ports of a cluster: for clients outside of it, and for drivers on its nodes."""
CONNECT_TIMEOUT_S = 3.0
"""Time in which a cluster has to accept a connection."""
LOOPBACK = "127.0.0.1"
DEFAULTS = LocalRay()
GPU_PROBE_TIMEOUT_S = 60.0
"""Time that a node has to report the memory of its GPUs."""


def start_on_node(function: Callable[..., object], node_id: str, *arguments: object) -> ObjectRef:
    """Start a function on a node, once. It reserves nothing, so it does not wait for busy CPUs and GPUs."""
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(function).options(num_cpus=0, num_gpus=0, scheduling_strategy=on_node, max_retries=0)
    return task.remote(*arguments)


def reason_of_failure(err: RayError) -> str:
    """Return why a task failed: the last line of the error, after the traceback of the task."""
    return str(err).strip().rpartition("\n")[2]


class RayNode(TypedDict):
    """The used fields of an entry of `ray.nodes()`."""

    NodeID: str
    Resources: Mapping[str, float]


@contextmanager
def connected(address: str, settings: LocalRay = DEFAULTS) -> Iterator[None]:
    """Connect to Ray. `local` starts it here (loopback only, no dashboard); other addresses name a cluster.

    Workers of a cluster import this project from where it is installed, or from the working directory of a submitted
    job.

    Args:
        settings: of a Ray that starts here.
    Raises:
        BadInputError: the cluster cannot be reached, or Ray does not start here.
    """
    _require_listener(address)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == "local":
        protect_token()
    level = "error" if address == "local" else "warning"  # a local Ray warns of its own authentication in every run
    options: dict[str, object] = {"log_to_driver": False, "logging_level": level, "configure_logging": True}
    try:
        with preserve_signal_handlers():
            ray.init(**(_local_options(settings) if address == "local" else {"address": address}), **options)
    except Exception as err:  # Ray raises many types, even a bare Exception for a node that starts too slowly
        with ignore_signals():
            ray.shutdown()  # ends the processes that were already started
        raise _not_connected(address, " ".join(str(err).split())) from err
    try:
        yield
    finally:
        with ignore_signals():
            ray.shutdown()


def _require_listener(address: str) -> None:
    """Check that something listens at the address of a cluster; Ray itself tries for half a minute.

    Raises:
        BadInputError: nothing accepts a connection.
    """
    default_port = CLIENT_PORT if address.startswith(CLIENT_SCHEME) else GCS_PORT
    parts = urlsplit(f"//{address.removeprefix(CLIENT_SCHEME)}")
    if "://" in address.removeprefix(CLIENT_SCHEME) or address in ("local", "auto") or not parts.hostname:
        return
    try:
        port = parts.port or default_port
    except ValueError as err:
        raise _not_connected(address, str(err)) from err
    if problem := connection_problem(parts.hostname, port, timeout_s=CONNECT_TIMEOUT_S):
        raise _not_connected(address, f"{parts.hostname}:{port}: {problem}")


def protect_token() -> None:
    """Create the file of the token that a local Ray requires, or change its permissions: only this user may read it.

    Ray itself would create it readable for every user. A token that the environment names is the user's own.
    """
    if (
        os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
        or os.environ.get("RAY_AUTH_MODE", "token") != "token"
    ):
        return
    path = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # without a home folder that can be written, Ray reports what it needs
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(secrets.token_hex(32))
        except FileExistsError:
            path.chmod(0o600)


def _local_options(settings: LocalRay) -> dict[str, object]:
    """Options of a new local Ray, even if another Ray runs here or RAY_ADDRESS is set."""
    actor_bytes, object_store_bytes = local_ray_bytes(settings.object_store_gib)
    address = {"address": "local", "_node_ip_address": LOOPBACK, "include_dashboard": False}
    spilling = {} if settings.spill_dir is None else {"object_spilling_directory": str(settings.spill_dir)}
    memory = {"_memory": actor_bytes, "object_store_memory": object_store_bytes}
    return {**address, "num_cpus": n_cpus(), **memory, **spilling}


def _not_connected(address: str, reason: str) -> BadInputError:
    if address == "local":
        advice = "rerun the command when the machine is less busy, or use --address none, which does not need Ray"
        return BadInputError("Ray did not start on this machine", reason=reason, next=advice)
    advice = "start a cluster with ray start --head, check the address, or leave out --address to run on this machine"
    return BadInputError("the Ray cluster cannot be reached", address=address, reason=reason, next=advice)


def node_of(node: RayNode, measure: Callable[[str, int], tuple[Gpu, ...]]) -> Node:
    """Convert Ray's description of a node.

    Args:
        node: an entry of `ray.nodes()`.
        measure: measures a number of GPUs of a node; called only if the node has GPUs.
    """
    resources = node["Resources"]
    n_gpus = int(resources.get("GPU", 0))
    gpus = measure(node["NodeID"], n_gpus) if n_gpus else ()
    return Node(float(resources.get("CPU", 0)), int(resources.get("memory", 0)), gpus)


def measured_gpus(node_id: str, n_gpus: int) -> tuple[Gpu, ...]:
    """Measure all GPUs of a node; their memory is unknown if the node does not answer in time.

    A task on the node measures them, because Ray only counts GPUs. It reserves none, so it does not wait for busy ones.
    """
    task = start_on_node(assigned_gpus, node_id, n_gpus)
    reason = "it sees fewer GPUs than Ray assigns"
    try:
        gpus: tuple[Gpu, ...] = ray.get(task, timeout=GPU_PROBE_TIMEOUT_S)
    except RayError as err:
        gpus, reason = (), str(err).partition("\n")[0]
    if len(gpus) == n_gpus:
        return gpus
    logger.warning("node %s does not report the memory of its GPUs: %s", node_id, reason)
    return (Gpu(0),) * n_gpus
