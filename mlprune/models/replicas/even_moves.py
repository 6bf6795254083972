"""Choose which batches move between replicas so that all have about the same number of tokens."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def even_moves(held: Sequence[Mapping[Key, int]]) -> dict[tuple[int, int], list[Key]]:
    """Choose whole batches to move until no further move makes the larger of two replicas smaller.

    Args:
        held: of each replica, batch -> number of tokens.
    Returns: (from, to) -> batches; equal input gives equal moves, in the same order.
    """
    holders = {key: holder for holder, keys in enumerate(held) for key in keys}
    sizes = {key: size for keys in held for key, size in keys.items()}
    loads = [sum(keys.values()) for keys in held]
    while True:
        source, target = loads.index(max(loads)), loads.index(min(loads))
        gap = loads[source] - loads[target]
        fitting = [key for key, holder in holders.items() if holder == source and 0 < sizes[key] < gap]
        if not fitting:
            break
        key = min(fitting, key=lambda key: abs(2 * sizes[key] - gap))
        holders[key] = target
        loads[source] -= sizes[key]
        loads[target] += sizes[key]
    moves: dict[tuple[int, int], list[Key]] = {}
    for source, keys in enumerate(held):
        for key in keys:
            if holders[key] != source:
                moves.setdefault((source, holders[key]), []).append(key)
    return moves
