"""Sign-flip p-values beyond what random draws resolve, from the distribution of sums of random subsets.

With signs s_c of fair coins, |sum_c s_c d_c| >= |sum_c d_c| exactly if the clusters of one of the two signs of s_c d_c
have a sum of |d_c| of at most b = (sum |d_c| - |sum d_c|) / 2. Each subset of the clusters has the same probability.
All terms of the sums below are positive, so float64 keeps their relative accuracy.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.clusters import SMALLEST_P_VALUE

TOLERANCE = 1e-9
"""Two sums are equal if they differ by less than this share of the sum of absolute contributions."""
MOST_PARTS = 60
"""The smallest contribution is tried as 1 to this number of units."""
MOST_UNITS, MOST_ADDITIONS = 2**20, 2**27
"""Largest b in units, and largest product of b in units and clusters, that are computed exactly."""
CELLS_PER_CLUSTER, FEWEST_CELLS, MOST_CELLS = 256, 2**12, 2**16
"""Cells of a grid up to b, for each cluster and in total."""
MOST_GRID_CLUSTERS = 2000
"""Above this number of clusters, contributions without a unit have the tilted normal bound."""
RARE = 1e-3
"""Share of a probability that is added for roundings that do not cancel."""
BERRY_ESSEEN = 0.56
"""Constant for sums of independent terms with different distributions (Shevtsova, Doklady Mathematics 82, 2010)."""
STEPS_PER_SCALING = 512
N_BISECTIONS = 60


def sign_flip_tail(contributions: Array) -> float:
    """Return the two-sided mid-p-value of a sum over all 2^C sign vectors, or a close upper bound of it.

    p = 2 P(S < b) + P(S = b) + 2^-C / 2, S the sum of a = |d| over a random subset: sums that are equal count 1/2, the
    observed signs 1.

    - If all d are multiples of a unit, p is exact: the smallest a, divided by 1 to 60, is a unit if all a are multiples
      up to 1e-9, and if b has at most 2^20 units and 2^27 / C.
    - Otherwise, up to 2,000 clusters, a is rounded to the nearest multiple of b / cells, with 256 cells per cluster,
      at least 2^12 and at most 2^16. The roundings of a subset add up to at least their mean minus a distance that they
      exceed with a probability of 0.001 p (Hoeffding, JASA 58, 1963); b is raised by this sum and p by this
      probability. Equal sums count 1 except the observed signs. For p > 1e-15, p is too large by less than 3 % up to
      150 clusters and by less than 10 % up to 1,000, unless many sums are equal.
    - With more clusters, exponential tilting gives S the mean b and nearly a normal distribution; p has the largest
      distance from it that the theorem of Berry and Esseen allows: it is up to about three times too large.

    Args:
        contributions: d, [C], finite, with a sum other than 0.
    Returns: p in [2.2e-308, 1].
    """
    amounts = np.abs(contributions)
    whole = float(amounts.sum())
    changed = np.sort(amounts[amounts > TOLERANCE * whole / len(amounts)])
    limit = (whole - abs(float(contributions.sum()))) / 2
    observed = math.ldexp(1.0, -len(contributions)) / 2
    units = (changed / changed[0])[:, None] * np.arange(1, MOST_PARTS + 1)
    is_whole = (np.abs(units - np.rint(units)) <= TOLERANCE * units).all(axis=0)
    most = limit / float(changed[0]) * (1 + float(np.argmax(is_whole)))
    if is_whole.any() and most <= min(MOST_UNITS, MOST_ADDITIONS / len(changed)):
        masses = _masses(np.rint(units[:, np.argmax(is_whole)]).astype(np.int64), round(most))
        return _clipped(2 * float(masses[:-1].sum()) + float(masses[-1]) + observed)
    limit += TOLERANCE * whole
    possible = changed[changed <= limit]
    scale = math.ldexp(1.0, len(possible) - len(changed))
    at_most = (_grid_bound if len(possible) <= MOST_GRID_CLUSTERS else _tilted_bound)(possible, limit) * scale
    return _clipped(2 * at_most - math.ldexp(1.0, -len(changed)) + observed)


def _masses(multiples: NDArray[np.int64], most: int) -> Array:
    """Return the probabilities of the sums 0 to `most` of a random subset, [most + 1]; multiples are ascending."""
    masses = np.zeros(most + 1)
    masses[0], end = 1.0, 1
    for step, multiple in enumerate(multiples.tolist(), start=1):
        end = min(most + 1, end + multiple)
        masses[multiple:end] += masses[: max(0, end - multiple)]
        if step % STEPS_PER_SCALING == 0:
            masses *= math.ldexp(1.0, -STEPS_PER_SCALING)
    return masses * math.ldexp(1.0, -(len(multiples) % STEPS_PER_SCALING))


def _grid_bound(amounts: Array, limit: float) -> float:
    """Return an upper bound of P(S <= limit) from amounts that are rounded to a grid."""
    n_cells = min(max(CELLS_PER_CLUSTER * len(amounts), FEWEST_CELLS), MOST_CELLS)
    step = limit / n_cells
    multiples = np.rint(amounts / step).astype(np.int64)
    errors = amounts - multiples * step
    cumulative = np.cumsum(_masses(multiples, n_cells + len(amounts) // 2 + 1))
    rare = RARE * float(cumulative[n_cells])
    reach = math.sqrt(float((errors**2).sum()) / 2 * math.log(1 / rare)) if rare > 0 else math.inf
    least = max(float(np.minimum(errors, 0).sum()), float(errors.sum()) / 2 - reach)
    cell = math.floor((limit - least) / step + TOLERANCE)
    return float(cumulative[min(cell, len(cumulative) - 1)]) + rare


def _tilted_bound(amounts: Array, limit: float) -> float:
    """Return an upper bound of P(S <= limit) by exponential tilting, for a limit below the mean of S.

    With chances q_c = 1 / (1 + exp(r a_c)) the mean of S is the limit, and P(S <= limit) is
    exp(sum_c ln((1 + exp(-r a_c)) / 2) + r limit) E[exp(-r (limit - S)); S <= limit]. If S were normal with the same
    variance, the expectation would be erfcx(r sd / sqrt 2) / 2; it differs by at most 2 * 0.56 sum E|X - EX|^3 / sd^3.
    """
    low, high = 0.0, 1.0 / float(amounts.mean())
    while float(amounts @ special.expit(-high * amounts)) > limit:
        high *= 2
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if float(amounts @ special.expit(-middle * amounts)) > limit else (low, middle)
    chances = special.expit(-high * amounts)
    variances = chances * (1 - chances)
    spread = math.sqrt(float(amounts**2 @ variances))
    third = float(amounts**3 @ (variances * (chances**2 + (1 - chances) ** 2)))
    logarithm = float((np.logaddexp(0, -high * amounts) - math.log(2)).sum()) + high * limit
    expected = special.erfcx(high * spread / math.sqrt(2)) / 2 + 2 * BERRY_ESSEEN * third / spread**3
    return math.exp(logarithm) * min(1.0, float(expected))


def _clipped(probability: float) -> float:
    return min(1.0, max(SMALLEST_P_VALUE, probability))
