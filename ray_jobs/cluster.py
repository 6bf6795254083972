"""Connecting to Ray, and what the cluster has to offer a recipe."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from mlprune.errors import BadInputError
from mlprune.recipe import ComputeConfig

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Pool:
    """How many workers a run gets, and what each asks for."""

    n_workers: int
    n_shards: int
    n_gpus: float
    threads: int
    """CPUs of each worker, or of each of its shards."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to Ray: started here for `local` (loopback only, no dashboard), else the named cluster.

    Workers of a cluster find this project where it is installed, or in the working directory of a submitted job.

    Raises:
        BadInputError: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options = {"log_to_driver": False, "logging_level": "warning", "configure_logging": True}
    if address == "local":
        own = {"address": "local", "_node_ip_address": LOOPBACK}  # whatever else runs here, or RAY_ADDRESS says
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, **own, **options)
    else:
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError) as err:
            raise BadInputError("the Ray cluster cannot be reached", address=address, reason=str(err)) from err
    try:
        yield
    finally:
        ray.shutdown()


def plan_pool(compute: ComputeConfig) -> Pool:
    """Workers for a recipe on the cluster we are connected to.

    Without GPUs there is one worker a CPU, with GPUs one a GPU, unless the recipe says how many; the CPUs are shared
    out among them, and none gets more than the smallest node has; a head without CPUs does not count.
    """
    resources = ray.cluster_resources()
    n_cpus, n_gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    n_shards = 1 if compute.shards == "auto" else compute.shards
    places = max(1, (n_gpus or n_cpus) // n_shards)
    n_workers = places if compute.replicas == "auto" else compute.replicas
    smallest = min((int(one["Resources"].get("CPU", 0)) or n_cpus for one in ray.nodes() if one["Alive"]), default=1)
    threads = max(1, min(n_cpus // (n_workers * n_shards), smallest))
    return Pool(n_workers, n_shards, n_gpus=1 if n_gpus else 0, threads=threads)
