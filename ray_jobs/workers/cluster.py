"""Connecting to Ray, and what its nodes offer. What a run makes of that is decided in `mlprune.plan.pool`."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mlprune.errors import BadInputError
from mlprune.plan.node_capacity import Node
from ray_jobs.driver.signals import handlers_kept, undisturbed
from ray_jobs.workers.node_resources import local_ray_bytes, n_cpus

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PATIENCE_S = 60.0
"""How long a node may take to say what its accelerators have."""
PROBE_GPU_FRACTION = 0.01
"""Part of an accelerator that a task asks for which only looks at it."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to Ray: started here for `local` (loopback only, no dashboard), else the named cluster.

    Workers of a cluster find this project where it is installed, or in the working directory of a submitted job.

    Raises:
        BadInputError: the cluster cannot be reached, or Ray does not start here.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning", "configure_logging": True}
    try:
        with handlers_kept():
            ray.init(**(_own() if address == "local" else {"address": address}), **options)
    except Exception as err:  # Ray raises whatever its parts raise, bare Exception for a node that was too slow
        with undisturbed():
            ray.shutdown()  # what it had started
        raise _not_connected(address, " ".join(str(err).split())) from err
    try:
        yield
    finally:
        with undisturbed():
            ray.shutdown()


def _own() -> dict[str, Any]:
    """Options of a Ray of our own, whatever else runs here or RAY_ADDRESS says."""
    for_actors, for_objects = local_ray_bytes()
    here = {"address": "local", "_node_ip_address": LOOPBACK, "include_dashboard": False}
    return {**here, "num_cpus": n_cpus(), "_memory": for_actors, "object_store_memory": for_objects}


def _not_connected(address: str, reason: str) -> BadInputError:
    if address == "local":
        advice = "the same command again when the machine has less to do, or --address none, which does without Ray"
        return BadInputError("Ray did not start on this machine", reason=reason, next=advice)
    return BadInputError("the Ray cluster cannot be reached", address=address, reason=reason)


def nodes() -> list[Node]:
    """What each living node of the cluster that we are connected to offers, whoever else uses it now."""
    return [node_of(one, memory_of_gpus) for one in ray.nodes() if one["Alive"]]


def node_of(described: Mapping[str, Any], gpu_bytes: Callable[[str], int]) -> Node:
    """A node as Ray describes it.

    Args:
        described: one of `ray.nodes()`.
        gpu_bytes: tells the memory of an accelerator of the node of an id; asked only where there is one.
    """
    has = described["Resources"]
    n_gpus = float(has.get("GPU", 0))
    a_gpu = gpu_bytes(described["NodeID"]) if n_gpus else 0
    return Node(float(has.get("CPU", 0)), int(has.get("memory", 0)), n_gpus, a_gpu)


def memory_of_gpus(node_id: str) -> int:
    """Free memory of the smallest accelerator of a node, in bytes; 0 if the node does not answer in time.

    Asked of the node itself, since Ray counts accelerators and does not measure them.
    """
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(_smallest_gpu).options(
        num_cpus=0, num_gpus=PROBE_GPU_FRACTION, scheduling_strategy=there, max_retries=0
    )
    try:
        return int(ray.get(task.remote(), timeout=PATIENCE_S))
    except RayError as err:
        logger.warning("node %s does not say how much memory its GPUs have: %s", node_id, str(err).partition("\n")[0])
        return 0


def _smallest_gpu() -> int:
    import torch  # noqa: PLC0415 - only a node that is asked needs it

    free = [torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())]
    return int(min(free, default=0))
