"""Assignment of the actors of a pool to nodes, as Ray packs them: a replica on as few nodes as possible."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlprune.plan.node_capacity import Node, n_fitting
from mlprune.plan.pool import Pool


@dataclass
class NodeLoad:
    """The actors on one node."""

    node: Node
    n_replicas: int = 0
    """Replicas that are on this node as a whole."""
    n_other_shards: int = 0
    """Shards of replicas that are on several nodes."""
    n_coordinators: int = 0
    free: int = field(default=0, repr=False)
    """Further actors that fit."""

    def n_actors(self, pool: Pool) -> int:
        """Actors with weights."""
        return self.n_replicas * pool.n_shards + self.n_other_shards

    def memory_bytes(self, pool: Pool) -> int:
        """Memory of all actors of the node."""
        return self.n_actors(pool) * pool.memory_bytes + self.n_coordinators * pool.coordinator_bytes

    def n_gpus(self, pool: Pool) -> int:
        """Accelerators that its actors use, or share."""
        return math.ceil(self.n_actors(pool) * pool.n_gpus - 1e-9)


def assign_actors(pool: Pool, nodes: Sequence[Node]) -> list[NodeLoad]:
    """Assign the actors of a pool to the nodes for which it was planned.

    Args:
        nodes: every node of the cluster. A node without enough accelerators or CPUs gets no actor.
    """
    loads = _packed(pool, [NodeLoad(node, free=_n_fitting(pool, node)) for node in nodes])
    if _add_coordinators(pool, loads):
        return loads
    # leave as much memory together as the planner did when it counted the coordinators
    limited, n_unplaced = [], pool.n_actors
    for node in nodes:
        n_placed = min(n_unplaced, _n_fitting(pool, node))
        n_unplaced -= n_placed
        limited.append(NodeLoad(node, free=n_placed))
    _add_coordinators(pool, _packed(pool, limited))
    return limited


def _n_fitting(pool: Pool, node: Node) -> int:
    return n_fitting(node, pool.actor) if node.n_cpus > 0 else 0


def _packed(pool: Pool, loads: list[NodeLoad]) -> list[NodeLoad]:
    """Add all replicas, each on one node if there is one with room."""
    for _ in range(pool.n_workers):
        whole = next((load for load in loads if load.free >= pool.n_shards), None)
        if whole is not None:
            whole.n_replicas += 1
            whole.free -= pool.n_shards
            continue
        n_unplaced = pool.n_shards
        for load in sorted(loads, key=lambda load: -load.free):
            n_placed = min(n_unplaced, load.free)
            load.n_other_shards += n_placed
            load.free -= n_placed
            n_unplaced -= n_placed
        assert n_unplaced == 0, "the pool was planned for these nodes"
    return loads


def _add_coordinators(pool: Pool, loads: Sequence[NodeLoad]) -> bool:
    """Add the coordinating workers; return whether all have room."""
    n_unplaced = pool.n_workers if pool.coordinator_bytes else 0
    near_replicas = [(load, max(1, load.n_replicas)) for load in loads]
    anywhere = [(load, pool.n_workers) for load in loads]
    for load, most in (*near_replicas, *anywhere) if n_unplaced else ():
        room = (load.node.memory_bytes - load.memory_bytes(pool)) // pool.coordinator_bytes
        n_added = max(0, min(n_unplaced, room, most))
        load.n_coordinators += n_added
        n_unplaced -= n_added
    return n_unplaced == 0
