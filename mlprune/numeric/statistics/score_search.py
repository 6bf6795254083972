"""Compiled search for the ends of a score interval, see `cluster_score.score_interval`.

A module of its own, because importing numba takes longer than most queries of a catalog, which need no new interval.
"""

from mlprune.numeric.arrays import Array
from mlprune.numeric.sortable_bits import compiled

N_GRID, N_ROUNDS, N_BISECTIONS = 65, 6, 40
SMALLEST_DENOMINATOR = 1e-300


@compiled
def upper_end(points: Array, counts: Array, start: float, squared_z: float, scales: tuple[float, float]) -> float:
    """Return the largest accepted difference: in each round the first rejected grid value, or the last one."""
    low, high = start, scales[1]
    for _ in range(N_ROUNDS):
        step = (high - low) / (N_GRID - 1)
        inner, is_rejected = low, False
        for index in range(1, N_GRID):
            outer = high if index == N_GRID - 1 else low + index * step
            if squared_score_of(points, counts, outer, scales) > squared_z:
                is_rejected = True
                break
            inner = outer
        if not is_rejected:
            return high
        low, high = inner, outer
    return high


@compiled
def squared_score_of(points: Array, counts: Array, difference: float, scales: tuple[float, float]) -> float:
    """Return the squared score statistic of a hypothesised difference; 0 if it has no variance.

    A weight whose denominator is 0 at the end of the range of l is taken as 1e300 times the number of its clusters.
    """
    unit, bound = scales
    most, least = (bound - difference) * unit, (-bound - difference) * unit
    top, bottom = most, least
    n_clusters = total = 0.0
    for c in range(counts.size):
        deviation = points[c, 0] - difference * points[c, 1]
        top, bottom = max(top, deviation), min(bottom, deviation)
        n_clusters += counts[c]
        total += counts[c] * deviation
    low = -1 / top if top > 0 else 0.0
    high = -1 / bottom if bottom < 0 else 0.0
    multiplier = 0.0
    for _ in range(N_BISECTIONS):
        multiplier = (low + high) / 2
        slope = 0.0
        for c in range(counts.size):
            deviation = points[c, 0] - difference * points[c, 1]
            slope += counts[c] * deviation / max(SMALLEST_DENOMINATOR, 1 + multiplier * deviation)
        if slope > 0:
            low = multiplier
        else:
            high = multiplier
    weights = variance = 0.0
    for c in range(counts.size):
        deviation = points[c, 0] - difference * points[c, 1]
        weight = counts[c] / (n_clusters * max(SMALLEST_DENOMINATOR, 1 + multiplier * deviation))
        weights += weight
        variance += weight * deviation**2
    extreme = least if multiplier > 0 else most
    variance += max(0.0, 1 - weights) * extreme**2
    return total**2 / (variance * n_clusters) if variance > 0 else 0.0
