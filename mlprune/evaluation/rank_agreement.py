"""Agreement of two languages about the candidates of the same items: RankC and its inference.

Inference on RankC: chance, expected value, intervals over clusters of items, and the paired test with a baseline.

Every value is a function of sums over clusters, so the resampled clusters of a task serve all its languages and
variants.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlprune.evaluation.inference.estimates import flips_of, resamples_of
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.tasks.items import MOST_OTHER_ANSWERS
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation.rankings import (
    Indices,
    Rankings,
    chance_consistency,
    corrected_consistency,
    expected_consistency,
    item_consistency,
)
from mlprune.numeric.statistics.bootstrap import bca_interval, is_constant, leave_one_out_sums, resampled_sums
from mlprune.numeric.statistics.cluster_score import boundary_interval
from mlprune.numeric.statistics.clusters import Interval, cluster_codes, cluster_sums, shared_cluster_codes
from mlprune.numeric.statistics.sign_flips import SignFlipResult, sign_flip_tests


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
    """Agreement of two languages on the items that both have with the same right candidate of as many."""

    first: LanguageRankings
    second: LanguageRankings
    n_skipped: int
    """Number of common ids that are left out because the right candidates or the numbers of candidates differ."""
    values: Array
    """[items] RankC."""

    @property
    def chances(self) -> Array:
        """[items] RankC of unrelated rankings."""
        return chance_consistency(self.first.rankings.sizes)

    @property
    def expected(self) -> Array:
        """[items] RankC if the wrong candidates of the two languages were unrelated."""
        first, second = (side.rankings.of(side.gold) for side in (self.first, self.second))
        return expected_consistency(first, second, self.first.rankings.sizes)

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
    """Compare two languages on their common items, in the order of the first.

    The same id with another right candidate is another item. If that is so for more than 5 % of the common ids, they
    are numbers of different items, such as rows of files of which some were left out, and no item is common.
    """
    rows = {name: row for row, name in enumerate(second.example_ids)}
    common = [(row, rows[name]) for row, name in enumerate(first.example_ids) if name in rows]
    a, b = np.array(common, dtype=np.int64).reshape(-1, 2).T
    is_as_long = first.rankings.sizes[a] == second.rankings.sizes[b]
    is_same_answer = first.gold[a] == second.gold[b]
    n_other = np.count_nonzero(is_as_long & ~is_same_answer)
    is_kept = is_as_long & is_same_answer & (n_other <= MOST_OTHER_ANSWERS * len(common))
    one, other = first.take(a[is_kept]), second.take(b[is_kept])
    n_skipped = len(common) - len(one.example_ids)
    return Agreement(one, other, n_skipped, item_consistency(one.rankings, other.rankings))


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


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; without one if there is a single cluster."""

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class RankConsistency:
    """RankC of two languages with the values that it is compared with."""

    n_clusters: int
    value: Estimate
    chance: float
    """Mean RankC of unrelated rankings."""
    corrected: Estimate | None
    """(value - chance) / (1 - chance); None if every item has one candidate."""
    expected: float
    """Mean RankC if the wrong candidates were unrelated and the right ones had the observed ranks on each item."""
    above_expected: Estimate
    """value - expected."""


@dataclass(frozen=True)
class _Replicates:
    """A value, or sums, for the sample, for each resample and without each cluster."""

    sample: Array
    resampled: Array
    """[R, ...]"""
    jackknife: Array
    """[C, ...]"""

    @property
    def parts(self) -> tuple[Array, Array, Array]:
        """All three."""
        return self.sample, self.resampled, self.jackknife

    def estimate(self, sizes: Array, *, least: float = 0.0) -> Estimate:
        """Return the value with its BCa interval, or that of the end of a range if all resamples are equal."""
        value, resampled = float(self.sample), self.resampled
        if len(sizes) < 2 or not np.isfinite(resampled).all() or not np.isfinite(self.jackknife).all():
            return Estimate(value, None)
        if is_constant(resampled):
            return Estimate(value, boundary_interval(value, sizes, least=least, greatest=1.0))
        return Estimate(value, bca_interval(resampled, value, self.jackknife))


def measure_ranks(agreement: Agreement) -> RankConsistency:
    """Compute RankC of two languages with its chance level, its expected value and intervals.

    Intervals are BCa over 1,999 resamples of the clusters (seed 0). Each resample computes the chance level and the
    expected value again. If all resamples are equal, `boundary_interval` is used: in [0, 1] for RankC and in [-1, 1]
    for the corrected value and the difference to the expected one.
    """
    codes = cluster_codes(agreement.first.clusters)
    columns = (agreement.values, agreement.chances, agreement.expected, np.ones_like(agreement.values))
    sums = cluster_sums(np.stack(columns, axis=1), codes)
    counts, sizes = resamples_of(len(sums)), sums[:, -1]
    totals = (sums.sum(axis=0), resampled_sums(counts, sums), leave_one_out_sums(sums))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [total[..., :-1] / total[..., -1:] for total in totals]
        value, chance, expected = (_Replicates(*(mean[..., k] for mean in means)) for k in range(3))
        pairs = zip(value.parts, chance.parts, strict=True)
        corrected = _Replicates(*(corrected_consistency(v, c) for v, c in pairs))
        above_expected = _Replicates(*(v - e for v, e in zip(value.parts, expected.parts, strict=True)))
    return RankConsistency(
        n_clusters=len(sums),
        value=value.estimate(sizes),
        chance=float(chance.sample),
        corrected=None if np.isnan(corrected.sample) else corrected.estimate(sizes, least=-1.0),
        expected=float(expected.sample),
        above_expected=above_expected.estimate(sizes, least=-1.0),
    )


def compare_ranks(pairs: Sequence[tuple[Agreement, Agreement]]) -> tuple[SignFlipResult | None, ...]:
    """Test the difference in RankC between a variant and its baseline for each pair of languages.

    A pair is tested on the items that both agreements have, with sign flips of clusters (`sign_flip_test`) on the
    differences of items. All pairs share the clusters and so the signs. None without a common item.
    """
    paired = [_paired_values(*pair) for pair in pairs]
    tested = [index for index, (clusters, _) in enumerate(paired) if clusters]
    if not tested:
        return (None,) * len(pairs)
    labels, codes = shared_cluster_codes(paired[index][0] for index in tested)
    with_sizes = [np.stack([paired[index][1], np.ones_like(paired[index][1])], axis=1) for index in tested]
    parts = zip(with_sizes, codes, strict=True)
    sums = np.stack([cluster_sums(values, of_items, n_clusters=len(labels)) for values, of_items in parts], axis=-1)
    results = sign_flip_tests(sums[:, 0], sums[:, 1], flips_of(len(labels)))
    by_index = dict(zip(tested, results, strict=True))
    return tuple(by_index.get(index) for index in range(len(pairs)))


def _paired_values(first: Agreement, second: Agreement) -> tuple[tuple[str, ...], Array]:
    """Return the clusters of the common items and their differences."""
    if first.first.example_ids == second.first.example_ids:
        return first.first.clusters, first.values - second.values
    values = dict(zip(second.first.example_ids, second.values.tolist(), strict=True))
    items = [item for item, name in enumerate(first.first.example_ids) if name in values]
    differences = [float(first.values[item]) - values[first.first.example_ids[item]] for item in items]
    return tuple(first.first.clusters[item] for item in items), np.array(differences, dtype=np.float64)
