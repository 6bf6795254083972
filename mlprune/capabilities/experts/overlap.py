"""Overlap of the experts that two sets of demonstrations use most, with a permutation test.

J = |A and B| / |A or B|, with A and B the m experts of a block to which most tokens of each set are routed
W = sum over experts of min(p, q) / sum over experts of max(p, q), with p and q the shares of each set's routed tokens

The test is of W. J cannot be tested so: if two sets use entirely different experts, a mixture of both has the top
experts of whichever set is in the majority, and the rest those of the other, so that J is 0 for permuted sets as well.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ShapeError
from mlprune.numeric.arrays import Array

N_PERMUTATIONS = 999
_EQUAL = 1e-12
"""Values of W that differ by less are equal."""


@dataclass(frozen=True)
class Overlap:
    """Overlap of two sets in one block."""

    n_top: int
    jaccard: float
    by_chance: float
    """Mean of the overlap of two random choices of as many experts."""
    weighted: float
    """W."""
    p_value: float
    """Share of the permutations of demonstrations whose W is at most as large, the observed one included."""


def permutations(n_a: int, n_b: int, *, n_permutations: int = N_PERMUTATIONS, seed: int = 0) -> NDArray[np.bool_]:
    """Draw which of n_a + n_b demonstrations are in the first set, [R, n_a + n_b].

    Row r has the first n_a places of the r-th call of `Generator(PCG64(seed)).permutation(n_a + n_b)`.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    chosen = np.zeros((n_permutations, n_a + n_b), dtype=np.bool_)
    for row in chosen:
        row[generator.permutation(n_a + n_b)[:n_a]] = True
    return chosen


def expert_overlap(a: Array, b: Array, share: float, *, chosen: NDArray[np.bool_]) -> Overlap:
    """Compare the experts that two sets use in one block.

    Counts are whole numbers, so their sums are exact in any order. Of equal counts, the lower expert comes first.

    Args:
        a: [n_a, experts], tokens of each demonstration that are routed to each expert.
        b: [n_b, experts].
        share: of the experts that count as most frequent; m = round(share * experts), at least 1.
        chosen: [R, n_a + n_b] from `permutations`.
    Raises:
        ShapeError: the sets have different experts, or the permutations do not fit them.
    """
    n_experts = a.shape[1]
    if b.shape[1] != n_experts or chosen.shape[1] != len(a) + len(b):
        raise ShapeError("two sets of demonstrations do not fit together", expected=a.shape, got=b.shape)
    n_top = max(1, round(share * n_experts))
    first, second = (_top(counts.sum(axis=0), n_top) for counts in (a, b))
    n_shared = len(first & second)
    pooled = np.concatenate([a, b])
    of_first = np.concatenate([a.sum(axis=0)[None], chosen.astype(np.float64) @ pooled])
    observed, *permuted = _weighted(of_first, pooled.sum(axis=0) - of_first).tolist()
    p_value = (1 + sum(value <= observed + _EQUAL for value in permuted)) / (1 + len(permuted))
    by_chance = jaccard_by_chance(n_experts, n_top)
    return Overlap(n_top, n_shared / (2 * n_top - n_shared), by_chance, observed, p_value)


def _top(counts: Array, n_top: int) -> set[int]:
    return set(np.argsort(-counts, kind="stable")[:n_top].tolist())


def _weighted(a: Array, b: Array) -> Array:
    """Return W of every row of two tables of counts, [R, experts] to [R]."""
    p, q = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) for counts in (a, b))
    return np.asarray(np.minimum(p, q).sum(axis=1) / np.maximum(p, q).sum(axis=1), dtype=np.float64)


def jaccard_by_chance(n: int, m: int) -> float:
    """Return the mean of |A and B| / |A or B| of two independent uniform choices of m of n things."""
    shared = range(max(0, 2 * m - n), m + 1)
    return sum(comb(m, k) * comb(n - m, m - k) * k / (2 * m - k) for k in shared) / comb(n, m)
