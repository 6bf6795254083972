"""The combination of levels with a given weighted sum that is nearest to wanted levels."""

from collections.abc import Sequence

import numpy as np

UNREACHABLE = 2**40


def nearest_levels(wanted: Sequence[int], weights: Sequence[int], *, n_levels: int, target: int) -> tuple[int, ...]:
    """Return the levels whose weighted sum is the target, with the smallest sum of absolute differences.

    Of equally near ones, the first in lexicographic order. By dynamic programming over units and sums, in integers.

    Args:
        wanted: level index of each unit.
        weights: of each unit, as in the sum.
        target: a sum that some levels have.
    """
    distance = np.full(target + 1, UNREACHABLE, dtype=np.int64)
    distance[0] = 0
    after = [distance]
    for level, weight in zip(reversed(wanted), reversed(weights), strict=True):
        distance = np.full(target + 1, UNREACHABLE, dtype=np.int64)
        for index in range(min(n_levels, target // weight + 1)):
            moved = after[-1][: target + 1 - weight * index] + abs(index - level)
            distance[weight * index :] = np.minimum(distance[weight * index :], moved)
        after.append(distance)
    assert after[-1][target] < UNREACHABLE
    chosen, missing = [], target
    for level, weight, later in zip(wanted, weights, reversed(after[:-1]), strict=True):
        within = range(min(n_levels, missing // weight + 1))
        index = min(within, key=lambda index: int(later[missing - weight * index]) + abs(index - level))
        chosen.append(index)
        missing -= weight * index
    return tuple(chosen)
