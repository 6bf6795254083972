"""RankC: how similarly two languages rank the candidates of the same items (Qi et al., arXiv:2310.10378).

    w_j = exp(n - j) / sum_k exp(n - k),   RankC of an item = sum_j w_j * |top_j(a) & top_j(b)| / j

with n, the item's number of candidates; RankC of two languages is the mean over items. Two values help to read it.
`chance_consistency` is the RankC of unrelated rankings. `expected_consistency` is that of two languages whose right
candidates have the observed ranks on each item and whose wrong candidates are unrelated: languages that answer well, or
find the same items hard, agree for this reason alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.arrays import Array

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Rankings:
    """Rankings of the candidates of all items in one language."""

    ranks: Indices
    """[items, most candidates], 0 for the first; where an item has no candidate, a value >= its size."""
    sizes: Indices
    """[items] number of candidates."""

    @classmethod
    def from_scores(cls, scores: Array, tie_places: Indices) -> "Rankings":
        """Rank candidates by descending score, equal scores by ascending place.

        Args:
            scores: [items, most candidates], NaN after the last candidate of an item.
            tie_places: same shape.
        Raises:
            ShapeError: the shapes differ, or an item has no candidate.
            PermanentError: a score is not a number.
        """
        if scores.ndim != 2 or scores.shape != tie_places.shape:
            raise ShapeError("scores and tie places differ", expected=scores.shape, got=tie_places.shape)
        missing = np.isnan(scores)
        sizes = np.asarray((~missing).sum(axis=1), dtype=np.int64)
        if (sizes == 0).any():
            raise ShapeError("an item has no candidate", expected="at least 1", got=0)
        n_wrong = int((missing & (np.arange(scores.shape[1]) < sizes[:, None])).sum())
        if n_wrong:
            raise PermanentError("a candidate's score is not a number", n_wrong=n_wrong)
        order = np.lexsort((tie_places, -scores), axis=-1)
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
        return cls(ranks, sizes)

    def take(self, items: Indices) -> "Rankings":
        """Return some items, in the given order."""
        return Rankings(self.ranks[items], self.sizes[items])

    def of(self, candidates: Indices) -> Indices:
        """[items] rank of one candidate of each item, given its index."""
        return np.asarray(self.ranks[np.arange(len(candidates)), candidates], dtype=np.int64)

    @property
    def first(self) -> Indices:
        """[items] index of the candidate that is ranked first."""
        return np.asarray(np.argmin(self.ranks, axis=1), dtype=np.int64)


def item_consistency(first: Rankings, second: Rankings) -> Array:
    """Return RankC of each item, [items], in (0, 1].

    Raises:
        ShapeError: the two rank different numbers of items, or of candidates of an item.
    """
    if not np.array_equal(first.sizes, second.sizes):
        raise ShapeError("rankings of different candidates", expected=first.sizes.shape, got=second.sizes.shape)
    n_items, most = len(first.sizes), int(first.sizes.max(initial=0))
    later = np.maximum(first.ranks[:, :most], second.ranks[:, :most])
    cells = np.minimum(later, most - 1) + most * np.arange(n_items)[:, None]
    is_candidate = np.arange(most) < first.sizes[:, None]
    entries = np.bincount(cells[is_candidate], minlength=n_items * most).reshape(n_items, most)
    shares = entries.cumsum(axis=1) / np.arange(1, most + 1)
    return np.asarray((_weights(first.sizes, most) * shares).sum(axis=1), dtype=np.float64)


def chance_consistency(sizes: Indices) -> Array:
    """Return the mean RankC of unrelated rankings of each item, [items]: sum_j w_j * j / n.

    0.634 for two candidates, 0.475 for three, 0.310 for five, 0.261 for six.
    """
    most = int(sizes.max(initial=0))
    shares = np.arange(1, most + 1) / sizes[:, None]
    return np.asarray((_weights(sizes, most) * shares).sum(axis=1), dtype=np.float64)


def corrected_consistency(value: Array, chance: Array) -> Array:
    """Return (value - chance) / (1 - chance): 0 at chance, 1 for equal rankings; NaN where chance is 1."""
    is_defined = chance < 1
    return np.asarray(np.where(is_defined, (value - chance) / np.where(is_defined, 1 - chance, 1), np.nan))


def expected_consistency(first: Indices, second: Indices, sizes: Indices) -> Array:
    """Return the expected RankC of each item if the wrong candidates of the two languages are unrelated, [items].

    Both ranks of the right candidate are kept, item by item, because languages that know an item agree about it. The
    wrong candidates of one language are in random order. With r_a and r_b, the ranks of the right candidate, and
    g_l(j) = 1 if r_l <= j and else 0, of the n - 1 wrong candidates (j - g_a)(j - g_b) / (n - 1) are expected in both
    top j:

        sum_j w_j / j * (g_a(j) g_b(j) + (j - g_a(j)) (j - g_b(j)) / (n - 1))

    This is the mean over all orders of the wrong candidates.

    Args:
        first: [items] rank of the right candidate in one language, 0 for the first.
        second: the same in the other language.
        sizes: [items] number of candidates, n.
    """
    most = int(sizes.max(initial=0))
    j = np.arange(1, most + 1)
    in_first, in_second = ((ranks[:, None] < j).astype(np.float64) for ranks in (first, second))
    wrong = (j - in_first) * (j - in_second) / np.maximum(sizes - 1, 1)[:, None]
    shares = (in_first * in_second + wrong) / j
    return np.asarray((_weights(sizes, most) * shares).sum(axis=1), dtype=np.float64)


def _weights(sizes: Indices, most: int) -> Array:
    """Return [items, most] weights w_1 ... w_n, 0 after them; computed as exp(1 - j), which cannot overflow."""
    decay = np.exp(-np.arange(most, dtype=np.float64))
    return np.asarray(np.where(np.arange(most) < sizes[:, None], decay, 0.0) / decay.cumsum()[sizes - 1][:, None])
