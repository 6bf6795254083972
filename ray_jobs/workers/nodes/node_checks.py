"""Check that every node of a cluster has the models and plug-ins of a run, before any worker starts."""

import logging
import time
from collections import Counter
from collections.abc import Sequence

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from mlprune.errors import BadInputError
from ray_jobs.process.environment import this_processor
from ray_jobs.workers.nodes.node_list import ClusterNode
from ray_jobs.workers.nodes.node_tasks import reason_of_failure, start_on_node
from ray_jobs.workers.nodes.requirements import Requirements, problem_here
from ray_jobs.workers.ray_failures import is_memory_kill

logger = logging.getLogger(__name__)

LOG_INTERVAL_S = 60.0
"""Time between two messages about nodes that have not answered."""
CHECK_TIMEOUT_S = 3600.0
"""Time that the nodes have to answer; they may have to download models first."""
PROCESSOR_TIMEOUT_S = 60.0
"""Time that the nodes have to report their processors."""


def require_on_nodes(requirements: Requirements, nodes: Sequence[ClusterNode]) -> None:
    """Check plug-ins and files of models on every node that can run jobs. Nodes without a hub model download it.

    Raises:
        BadInputError: a node lacks a model or a plug-in, has another one, cannot check them, or does not answer.
    """
    working = [node for node in nodes if node.resources.n_cpus > 0 and node.leaves_in_s is None]
    waiting = {start_on_node(problem_here, node.node_id, requirements): node for node in working}
    deadline = time.monotonic() + CHECK_TIMEOUT_S
    while waiting:
        answered, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=LOG_INTERVAL_S)
        for task in answered:
            _require_answer(task, waiting.pop(task))
        if waiting:
            hosts = ", ".join(node.host for node in waiting.values())
            if time.monotonic() >= deadline:
                message = "nodes of the cluster did not answer while their models and plug-ins were checked"
                raise BadInputError(message, nodes=hosts, waited=f"{CHECK_TIMEOUT_S / 60:.0f} minutes")
            logger.warning("waiting for nodes that check plug-ins, and check or download models: %s", hosts)


def count_processors(nodes: Sequence[ClusterNode]) -> Counter[str]:
    """Return processor -> number of nodes that can run jobs on it. Nodes that do not answer in time are not counted."""
    working = [node for node in nodes if node.resources.n_cpus > 0 and node.leaves_in_s is None]
    tasks = {start_on_node(this_processor, node.node_id): node.host for node in working}
    answered, silent = ray.wait(list(tasks), num_returns=len(tasks), timeout=PROCESSOR_TIMEOUT_S) if tasks else ([], [])
    counts: Counter[str] = Counter()
    for task in answered:
        try:
            counts[ray.get(task)] += 1
        except RayError as err:
            logger.warning("node %s does not report its processor: %s", tasks[task], reason_of_failure(err))
    for task in silent:
        logger.warning("node %s does not report its processor in %g s", tasks[task], PROCESSOR_TIMEOUT_S)
    return counts


def _require_answer(task: ObjectRef, node: ClusterNode) -> None:
    try:
        problem: tuple[str, dict[str, object]] | None = ray.get(task)
    except RayError as err:
        if node.node_id in {other["NodeID"] for other in ray.nodes() if other["Alive"]}:
            message = "a node of the cluster cannot check the models and plug-ins of the run"
            if is_memory_kill(err):
                message = "a node killed the check of the models and plug-ins of the run for its memory"
                advice = "free memory on the node, or raise RAY_memory_usage_threshold (0.95) where its Ray starts"
                raise BadInputError(message, node=node.host, next=advice) from err
            raise BadInputError(message, node=node.host, reason=reason_of_failure(err)) from err
        logger.warning("node %s left before it was checked", node.host)
        return
    if problem is not None:
        message, context = problem
        raise BadInputError(message, {**context, "node": node.host})
