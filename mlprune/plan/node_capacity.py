"""Where actors find room: the arithmetic of CPUs, accelerators and memory over the nodes of a cluster.

How many actors a recipe wants, and of what kind, is decided in `pool.py`; what the nodes have is found out by whoever
is connected to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """What one machine offers to actors."""

    n_cpus: float
    memory_bytes: int
    n_gpus: float = 0
    gpu_bytes: int = 0
    """Memory of one of its accelerators."""


@dataclass(frozen=True)
class Actor:
    """What one actor asks of the node it is placed on."""

    n_cpus: float
    n_gpus: float
    memory_bytes: int


def has_room(nodes: Sequence[Node], actor: Actor, n: int, *, n_beside: int = 0, beside_bytes: int = 0) -> bool:
    """Whether so many equal actors find room, and beside them some that take memory alone.

    Args:
        n_beside: actors that take neither CPU nor accelerator.
        beside_bytes: memory of each of them.
    """
    left, n_left = [], n
    for node in nodes:
        here = min(n_left, _places(node, actor))
        n_left -= here
        left.append(node.memory_bytes - here * actor.memory_bytes)
    n_small = sum(memory // beside_bytes for memory in left) if beside_bytes else n_beside
    return n_left == 0 and n_small >= n_beside


def max_cpus(nodes: Sequence[Node], n: int) -> float:
    """The most CPUs that each of n actors can have at once: a whole number, or a part of one where CPUs are fewer."""
    shares = {node.n_cpus / k for node in nodes for k in range(1, n + 1)}
    offers = {float(int(share)) if share >= 1 else round(share - 5e-5, 4) for share in shares}
    return max((cpus for cpus in offers if cpus > 0 and _n_of(nodes, cpus) >= n), default=0.0)


def max_memory(nodes: Sequence[Node], actor: Actor, n: int, *, n_beside: int = 0, beside_bytes: int = 0) -> int:
    """The most memory that each of n actors of this kind can have at once; 0 if they find no room at all.

    Args:
        n_beside, beside_bytes: as for `has_room`.
    """
    kept = n_beside * beside_bytes
    rooms = {node.memory_bytes - taken for node in nodes for taken in (0, kept)}
    shares = sorted({int(room // k) for room in rooms if room > 0 for k in range(1, n + 1)}, reverse=True)
    beside = {"n_beside": n_beside, "beside_bytes": beside_bytes}
    kinds = (Actor(actor.n_cpus, actor.n_gpus, share) for share in shares)
    return next((kind.memory_bytes for kind in kinds if has_room(nodes, kind, n, **beside)), 0)


def n_gpu_shares(nodes: Sequence[Node], n_gpus: float) -> int:
    """Actors that find so much of an accelerator each."""
    return sum(int(node.n_gpus / n_gpus + 1e-9) for node in nodes)


def _n_of(nodes: Sequence[Node], n_cpus: float) -> int:
    return sum(int(node.n_cpus / n_cpus + 1e-9) for node in nodes)


def _places(node: Node, actor: Actor) -> int:
    wanted = ((node.n_cpus, actor.n_cpus), (node.n_gpus, actor.n_gpus), (node.memory_bytes, actor.memory_bytes))
    places = [int(offered / asked + 1e-9) for offered, asked in wanted if asked]
    return min(places, default=0)
