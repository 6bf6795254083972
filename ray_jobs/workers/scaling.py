"""Scaling: adapt the number of replicas of a run to nodes that join and leave.

The plan of a replica stays as it was at the start. If nodes join, as many replicas are added as fit on them. The
replicas of nodes that are about to leave get no further jobs. They are started again elsewhere as long as the run has
fewer than it was planned with, so that a cluster with an autoscaler sees what is needed.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence

from mlprune.counted import counted
from mlprune.plan.resources.node_capacity import Coordinators, Node, Pool, has_room
from mlprune.timestamps import timestamp
from ray_jobs.workers.cluster_nodes import ClusterNode
from ray_jobs.workers.pool_interface import PoolChange

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 5.0
"""Time between two checks of the nodes; cloud providers announce the end of a spot machine at least 30 s before."""
LEAST_GPU_SHARE = 0.95
"""Share of the planned free memory of an accelerator that those of a new node must have."""


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
