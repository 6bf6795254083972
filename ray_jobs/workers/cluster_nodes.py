"""Nodes of the connected cluster that a run may use: the check of what they have, and scaling as they join and leave.

The plan of a replica stays as it was at the start. If nodes join, as many replicas are added as fit on them. The
replicas of nodes that are about to leave get no further jobs. They are started again elsewhere as long as the run has
fewer than it was planned with, so that a cluster with an autoscaler sees what is needed.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from mlprune.counted import counted
from mlprune.errors import BadInputError
from mlprune.planning.resources.node_capacity import Coordinators, Gpu, Node, Pool, has_room
from mlprune.timestamps import timestamp
from ray_jobs.process.environment import this_processor
from ray_jobs.workers.cluster import measured_gpus, node_of, reason_of_failure, start_on_node
from ray_jobs.workers.pool_interface import PoolChange
from ray_jobs.workers.ray_failures import is_memory_kill
from ray_jobs.workers.required_files import Requirements, problem_here

logger = logging.getLogger(__name__)
LOG_INTERVAL_S = 60.0
"""Time between two messages about nodes that have not answered."""
CHECK_TIMEOUT_S = 3600.0
"""Time that the nodes have to answer; they may have to download models first."""
PROCESSOR_TIMEOUT_S = 60.0
"""Time that the nodes have to report their processors."""
POLL_INTERVAL_S = 5.0
"""Time between two checks of the nodes; cloud providers announce the end of a spot machine at least 30 s before."""
LEAST_GPU_SHARE = 0.95
"""Share of the planned free memory of an accelerator that those of a new node must have."""


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


class Scaling:
    """The number of replicas of a pool.

    Args:
        pool: as planned at the start.
        list_nodes: lists the live nodes; None if the nodes of the run do not change.
        is_fixed: whether the recipe sets the number of replicas, so that none is added.
    """

    def __init__(
        self, pool: Pool, list_nodes: Callable[[], Sequence[ClusterNode]] | None = None, *, is_fixed: bool = False
    ) -> None:
        self._pool = pool
        self._list_nodes = list_nodes
        self._is_fixed = is_fixed
        self._numbers = set(range(pool.n_workers))
        self._next_number = pool.n_workers
        self._changes: list[PoolChange] = []
        self._polled_at = time.monotonic()
        self._seen: dict[str, ClusterNode] = {node.node_id: node for node in list_nodes()} if list_nodes else {}
        self._least_gpu_bytes = min((node.resources.gpu_bytes for node in self._with_gpus()), default=0)
        self._n_fitted_at_start = self._n_fitting()

    @property
    def interval_s(self) -> float | None:
        """Time until the nodes have to be checked again; None if they do not change."""
        if self._list_nodes is None:
            return None
        return max(0.0, self._polled_at + POLL_INTERVAL_S - time.monotonic())

    def usable_nodes(self) -> frozenset[str] | None:
        """Check the nodes if it is time, and return those that do not leave; None if it is not time."""
        if self._list_nodes is None or self.interval_s:
            return None
        self._polled_at = time.monotonic()
        try:
            nodes = {node.node_id: node for node in self._list_nodes()}
        except Exception as err:  # Ray raises many types while its head does not answer
            logger.warning("the nodes of the cluster cannot be listed now: %s", str(err).partition("\n")[0])
            return None
        for line in _differences(self._seen, nodes):
            self._note(line)
        self._seen = nodes
        return frozenset(node.node_id for node in nodes.values() if node.leaves_in_s is None)

    def added(self) -> list[int]:
        """Return the numbers of replicas to start because there is room for more."""
        numbers = list(range(self._next_number, self._next_number + self._target() - len(self._numbers)))
        self._next_number += len(numbers)
        self._numbers.update(numbers)
        if numbers:
            self._note(f"{counted(len(numbers), 'replica')} added: {_names(numbers)}")
        return numbers

    def keeps(self, number: int) -> bool:
        """Return whether a replica that was ended is to be started again; otherwise it is forgotten."""
        if len(self._numbers) <= self._target():
            return True
        self._numbers.discard(number)
        self._note(f"{_names([number])} removed")
        return False

    def take_changes(self) -> list[PoolChange]:
        """Return the changes since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def _note(self, reason: str) -> None:
        """Log a change, and keep it for the log of the run."""
        logger.warning("%s; the run has %s", reason, counted(len(self._numbers), "replica"))
        self._changes.append(PoolChange(len(self._numbers), reason, timestamp()))

    def _target(self) -> int:
        """Number of replicas that the run should have."""
        n_planned = self._pool.n_workers
        return n_planned if self._is_fixed else n_planned + max(0, self._n_fitting() - self._n_fitted_at_start)

    def _n_fitting(self) -> int:
        """Number of replicas that fit on the nodes that do not leave."""
        return n_fitting(self._pool, [node.resources for node in self._seen.values() if self._is_useful(node)])

    def _is_useful(self, node: ClusterNode) -> bool:
        least = LEAST_GPU_SHARE * self._least_gpu_bytes if self._pool.n_gpus else 0
        return node.leaves_in_s is None and node.resources.gpu_bytes >= least

    def _with_gpus(self) -> list[ClusterNode]:
        return [node for node in self._seen.values() if node.resources.n_gpus]


def n_fitting(pool: Pool, nodes: Sequence[Node]) -> int:
    """Return how many replicas as planned fit on some nodes."""
    n = 0
    while has_room(nodes, pool.actor, (n + 1) * pool.n_shards, Coordinators(n + 1, pool.coordinator_bytes)):
        n += 1
    return n


def _differences(before: dict[str, ClusterNode], after: dict[str, ClusterNode]) -> list[str]:
    """Return one line for each node that joined, is about to leave or has left."""
    lines = [f"node {node.host} joined" for node_id, node in after.items() if node_id not in before]
    for node_id, node in after.items():
        was_leaving = node_id in before and before[node_id].leaves_in_s is not None
        if node.leaves_in_s is not None and not was_leaving:
            when = "" if math.isinf(node.leaves_in_s) else f" in {node.leaves_in_s:.0f} s"
            lines.append(f"node {node.host} is about to leave{when}: its replicas get no further jobs")
    return lines + [f"node {node.host} left" for node_id, node in before.items() if node_id not in after]


def _names(numbers: Sequence[int]) -> str:
    return ", ".join(f"worker-{number}" for number in numbers)
