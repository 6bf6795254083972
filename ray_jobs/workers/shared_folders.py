"""Check that the nodes of a cluster see the folders that jobs read, such as those of models."""

from collections.abc import Sequence
from pathlib import Path

import ray
from ray import ObjectRef
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mlprune.cache_folders import MODEL_CACHE_VARIABLE
from mlprune.errors import BadInputError

CHECK_TIMEOUT_S = 60.0
"""Time that the nodes have to answer; a node that does not answer in time is not checked."""


def require_folders(folders: Sequence[str]) -> None:
    """Check that every node that can run jobs sees some folders.

    Raises:
        BadInputError: a node does not see one.
    """
    tasks = {_check_on(node["NodeID"], folders): str(node["NodeManagerHostname"]) for node in _working_nodes()}
    answered, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=CHECK_TIMEOUT_S) if tasks else ([], [])
    for task in answered:
        try:
            missing: list[str] = ray.get(task)
        except RayError:  # the node was lost, or cannot import this package; its jobs report that
            continue
        if missing:
            raise BadInputError(
                "a node of the cluster does not see the folder of a model",
                node=tasks[task],
                path=missing[0],
                next="keep models on storage that all nodes mount at the same path; "
                f"{MODEL_CACHE_VARIABLE} names such a folder for imported models",
            )


def _working_nodes() -> list[dict[str, object]]:
    """Return the live nodes that have CPUs."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]


def _check_on(node_id: object, folders: Sequence[str]) -> ObjectRef:
    """Start the check on a node."""
    on_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(missing_folders).options(num_cpus=0, scheduling_strategy=on_node, max_retries=0)
    return task.remote(list(folders))


def missing_folders(folders: Sequence[str]) -> list[str]:
    """Return the folders that this machine does not see."""
    return [folder for folder in folders if not Path(folder).is_dir()]
