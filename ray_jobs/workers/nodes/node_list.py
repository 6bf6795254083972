"""List the nodes of the connected cluster that a run may use, and those that are about to leave."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ray

from mlprune.errors import BadInputError
from mlprune.plan.node_capacity import Gpu, Node
from ray_jobs.workers.cluster import measured_gpus, node_of
from ray_jobs.workers.nodes.node_labels import has_labels

logger = logging.getLogger(__name__)


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
