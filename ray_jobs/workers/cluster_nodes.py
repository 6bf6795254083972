"""Nodes of the connected cluster that a run may use, and the check that they have what it requires."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from mlprune.errors import BadInputError
from mlprune.plan.resources.node_capacity import Gpu, Node
from ray_jobs.process.environment import this_processor
from ray_jobs.workers.cluster import measured_gpus, node_of, reason_of_failure, start_on_node
from ray_jobs.workers.ray_failures import is_memory_kill
from ray_jobs.workers.required_files import Requirements, problem_here

logger = logging.getLogger(__name__)


def has_labels(labels: Mapping[str, str], selectors: Mapping[str, str]) -> bool:
    """Return whether the labels of a node match all selectors.

    Args:
        labels: label -> value.
        selectors: label -> `VALUE`, `!VALUE`, `in(A, B)` or `!in(A, B)`. A label that is missing has no value.
    """
    return all(_matches(labels.get(label), selector) for label, selector in selectors.items())


def _matches(value: str | None, selector: str) -> bool:
    expected = selector.removeprefix("!")
    is_list = expected.startswith("in(") and expected.endswith(")")
    values = [part.strip() for part in expected[3:-1].split(",")] if is_list else [expected]
    return (value in values) != selector.startswith("!")


@dataclass(frozen=True)
class ClusterNode:
    """A live node of a cluster."""

    node_id: str
    host: str
    resources: Node
    leaves_in_s: float | None = None
    """Time until the node leaves, if it is about to leave: infinite without a deadline."""


class NodeList:
    """Lists nodes; the accelerators of each are measured once.

    Args:
        labels: label -> selector of its value; other nodes are not listed.
    """

    def __init__(self, labels: Mapping[str, str] | None = None) -> None:
        self._labels = dict(labels or {})
        self._gpus: dict[str, tuple[Gpu, ...]] = {}
        self._has_warned = False

    def __call__(self) -> list[ClusterNode]:
        """List the live nodes with the labels."""
        leaving = self._leaving()
        return [
            ClusterNode(
                node["NodeID"], node["NodeManagerHostname"], node_of(node, self._measure), leaving.get(node["NodeID"])
            )
            for node in ray.nodes()
            if node["Alive"] and has_labels(node.get("Labels", {}), self._labels)
        ]

    def required(self) -> list[ClusterNode]:
        """List the nodes.

        Raises:
            BadInputError: no live node has the labels.
        """
        if nodes := self():
            return nodes
        labels = [dict(node.get("Labels", {})) for node in ray.nodes() if node["Alive"]]
        raise BadInputError(
            "no node of the cluster has the labels of compute.node_labels", expected=self._labels, got=labels
        )

    def _measure(self, node_id: str, n_gpus: int) -> tuple[Gpu, ...]:
        if node_id not in self._gpus:
            self._gpus[node_id] = measured_gpus(node_id, n_gpus)
        return self._gpus[node_id]

    def _leaving(self) -> dict[str, float]:
        """Return id of a node that is about to leave -> time until it does.

        Ray has no public function for this. A driver outside of the cluster (`ray://`) does not see it.
        """
        try:
            deadlines: Mapping[str, int] = ray._private.state.state.get_draining_nodes()
        except Exception as err:  # of a private function: whatever it is, the run continues without it
            if not self._has_warned:
                logger.warning("nodes that are about to leave cannot be listed: %s", str(err).partition("\n")[0])
            self._has_warned = True
            return {}
        now_s = time.time()
        return {node_id: ms / 1000 - now_s if ms else float("inf") for node_id, ms in deadlines.items()}


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
