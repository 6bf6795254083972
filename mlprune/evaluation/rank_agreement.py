"""Agreement of two languages about the candidates of the same items: RankC and wrong answers, item by item."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.numeric.evaluation.metrics import Array
from mlprune.numeric.evaluation.rank_consistency import (
    Indices,
    Rankings,
    chance_consistency,
    item_consistency,
)


@dataclass(frozen=True)
class LanguageRankings:
    """How one language ranks the candidates of the items of an evaluation."""

    example_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    rankings: Rankings
    """By descending score; by ascending score in profile `paper`, as in the published code."""
    gold: Indices
    """[items] index of the right candidate."""
    answers: Indices
    """[items] index of the candidate with the highest score."""

    @classmethod
    def of(cls, predictions: Predictions) -> "LanguageRankings":
        """Rank the candidates of predictions. Equal scores are ordered by SHA-256 of "example_id:candidate_index".

        Raises:
            PermanentError: a score is not a number.
        """
        places = _tie_places(predictions.example_ids, tuple(np.diff(predictions.starts).tolist()))
        descending = Rankings.from_scores(predictions.score_matrix, places)
        is_ascending = predictions.profile == "paper"
        rankings = Rankings.from_scores(-predictions.score_matrix, places) if is_ascending else descending
        return cls(predictions.example_ids, predictions.clusters, rankings, predictions.gold, descending.first)

    def take(self, items: Indices) -> "LanguageRankings":
        """Return some items, in the given order."""
        names = [(self.example_ids[item], self.clusters[item]) for item in items.tolist()]
        return LanguageRankings(
            tuple(name for name, _ in names),
            tuple(cluster for _, cluster in names),
            self.rankings.take(items),
            self.gold[items],
            self.answers[items],
        )


@dataclass(frozen=True)
class Agreement:
    """Agreement of two languages on the items that both have with as many candidates."""

    first: LanguageRankings
    second: LanguageRankings
    n_skipped: int
    """Number of common items that are left out because their numbers of candidates differ."""
    values: Array
    """[items] RankC."""

    @property
    def chances(self) -> Array:
        """[items] RankC of unrelated rankings."""
        return chance_consistency(self.first.rankings.sizes)

    @property
    def both_wrong(self) -> Array:
        """[items] 1 where neither language gives the right candidate the highest score."""
        wrong = (side.answers != side.gold for side in (self.first, self.second))
        return np.asarray(np.logical_and(*wrong), dtype=np.float64)

    @property
    def same_wrong(self) -> Array:
        """[items] 1 where both languages prefer the same wrong candidate."""
        return np.asarray(self.both_wrong * (self.first.answers == self.second.answers))


def agreement(first: LanguageRankings, second: LanguageRankings) -> Agreement:
    """Compare two languages on their common items, in the order of the first."""
    rows = {name: row for row, name in enumerate(second.example_ids)}
    common = [(row, rows[name]) for row, name in enumerate(first.example_ids) if name in rows]
    sizes = (first.rankings.sizes, second.rankings.sizes)
    kept = [(a, b) for a, b in common if sizes[0][a] == sizes[1][b]]
    pairs = np.array(kept, dtype=np.int64).reshape(-1, 2)
    one, other = first.take(pairs[:, 0]), second.take(pairs[:, 1])
    return Agreement(one, other, len(common) - len(kept), item_consistency(one.rankings, other.rankings))


@lru_cache(maxsize=4)
def _tie_places(example_ids: tuple[str, ...], sizes: tuple[int, ...]) -> Indices:
    """[items, most candidates] position of each candidate in the ascending order of the keys of its item."""
    keys = np.full((len(sizes), max(sizes, default=0)), "~", dtype="U64")
    for item, (name, size) in enumerate(zip(example_ids, sizes, strict=True)):
        keys[item, :size] = [hashlib.sha256(f"{name}:{index}".encode()).hexdigest() for index in range(size)]
    order = np.argsort(keys, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None, :], axis=1)
    return places
