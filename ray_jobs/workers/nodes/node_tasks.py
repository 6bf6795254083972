"""Tasks that examine one node of the connected cluster."""

from collections.abc import Callable

import ray
from ray import ObjectRef
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def start_on_node(function: Callable[..., object], node_id: str, *arguments: object) -> ObjectRef:
    """Start a function on a node, once. It reserves nothing, so it does not wait for busy CPUs and GPUs."""
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(function).options(num_cpus=0, num_gpus=0, scheduling_strategy=on_node, max_retries=0)
    return task.remote(*arguments)


def reason_of_failure(err: RayError) -> str:
    """Return why a task failed: the last line of the error, after the traceback of the task."""
    return str(err).strip().rpartition("\n")[2]
