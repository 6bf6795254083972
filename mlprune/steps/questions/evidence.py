"""Evidence for a question: its criterion, what comparisons say of it, and estimates with tests of a margin."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy import special

from mlprune.errors import StoreError
from mlprune.evaluation.inference.estimates import flips_of
from mlprune.hashing import digest, without_defaults
from mlprune.json_values import JsonValue, as_float, as_int
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.cluster_score import is_sparse, sparse_interval
from mlprune.numeric.statistics.clusters import Interval, shared_cluster_codes
from mlprune.numeric.statistics.paired_proportions import (
    equivalence_interval,
    noninferiority_p_value,
    superiority_p_value,
)
from mlprune.numeric.statistics.sign_flips import sign_flip_test
from mlprune.numeric.statistics.variance_components import CrossedEstimate
from mlprune.recipe.questions import AskedLanguages
from mlprune.store.records import ID_LENGTH, Record
from mlprune.store.store import Store
from mlprune.vocabulary import METRIC_TRAITS, ClaimName, GroupKind, OverName

CONTRIBUTIONS = "contributions/"
"""Folder of the artefacts with the contribution of every cluster to the difference of every group."""
TANGO = "tango"
"""Test of a binary metric over independent items."""
SIGN_FLIP = "sign_flip"
"""Test of sums over clusters."""
MINIMA = "minima"
"""Test of the worst language. Its contributions are linearised and therefore not read."""
ONE_SIDED = 1.645
"""Normal deviate of a one-sided 5 % test."""
N_BISECTIONS = 30
MAX_QUANTILE = 8.0
"""Largest normal quantile of an interval; p-values below 6e-16 are not distinguished."""
Z90, Z95 = float(special.ndtri(0.95)), float(special.ndtri(0.975))
HALF = 0.5
"""One-sided p-value of a hypothesis at the estimate."""


@dataclass(frozen=True)
class Criterion:
    """A question without its variants; its parameters are those of the answer's id."""

    metric: str
    group_kind: GroupKind
    group_name: str = ""
    claim: ClaimName = "gain"
    margin: float | None = None
    over: OverName = "each"

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @property
    def group(self) -> AskedLanguages:
        """The languages over which the question is asked."""
        return AskedLanguages(self.group_kind, self.group_name)

    @property
    def sign(self) -> int:
        """1 if higher values of the metric are better, -1 if lower values are: a gain is sign * difference > 0."""
        return 1 if METRIC_TRAITS[self.metric].higher_is_better else -1

    def id(self, task: JsonValue) -> str:
        """Return the key under which declarations of the same question about other variants are found.

        Args:
            task: parameters of the task and the languages of its evaluations.
        """
        return digest([self.parameters, task])[:ID_LENGTH]


class Counts(NamedTuple):
    """Items of which exactly one of two models is right, and all items."""

    n_gained: float
    n_lost: float
    n: float


@dataclass(frozen=True)
class Evidence:
    """A paired difference, variant minus baseline, with the data it is computed from."""

    row: Mapping[str, JsonValue]
    """Of `comparison_results` for a language, of `aggregate_results` for another group."""
    clusters: tuple[str, ...]
    """Names of the clusters; empty without contributions, and for the worst language."""
    contributions: Array
    """[C] contributions of the clusters; their sum divided by that of the sizes is the difference."""
    sizes: Array
    """[C]."""

    @property
    def counts(self) -> Counts | None:
        """Counts of a binary metric over independent items; None for other differences."""
        if self.row["test"] != TANGO:
            return None
        return Counts(as_float(self.row["n_gained"]), as_float(self.row["n_lost"]), as_float(self.row["n"]))

    @property
    def difference(self) -> float:
        """The difference on the scale of the record."""
        return as_float(self.row["difference"])

    @property
    def is_log(self) -> bool:
        """Whether the difference is a logarithm."""
        return self.row["scale"] == "log_ratio"

    def interval(self, name: str) -> Interval:
        """Return the interval whose ends are the columns `name`_low and `name`_high; infinite without them."""
        low, high = self.row[f"{name}_low"], self.row[f"{name}_high"]
        return Interval(-math.inf if low is None else as_float(low), math.inf if high is None else as_float(high))

    @property
    def standard_error(self) -> float:
        """Its standard error; infinite for a single cluster.

        For the worst language it is the longer side of the 95 % interval, divided by 1.645: an estimate with this error
        claims less than the test of the minima, which needs more than one normal deviate.
        """
        if self.row["test"] == MINIMA:
            return self.interval("ci").reach_from(self.difference) / ONE_SIDED
        error = self.row["standard_error"]
        return math.inf if error is None else as_float(error)

    @property
    def n_items(self) -> int:
        """Number of different items."""
        return as_int(self.row["n_items"] if "n_items" in self.row else self.row["n"])

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return as_int(self.row["n_clusters"])


def read_evidence(store: Store, record: Record, criterion: Criterion) -> Evidence:
    """Read what the record of a comparison says about a metric in a group of languages.

    Raises:
        StoreError: the record has no such row.
        DamagedArtefactError: its contributions are missing or damaged.
    """
    row = find_row(record, criterion)
    if row is None:
        message = "a comparison has no result for the group of a question"
        raise StoreError(message, comparison=record.id, metric=criterion.metric, group=criterion.group.text)
    clusters: tuple[str, ...] = ()
    values = np.zeros((2, 0))
    for artefact in record.artefacts:
        if artefact.path.startswith(CONTRIBUTIONS) and row["test"] != MINIMA:
            clusters, values = _contributions(store.read_table(artefact), criterion)
    return Evidence(row, clusters, *values)


def find_row(record: Record, criterion: Criterion) -> Mapping[str, JsonValue] | None:
    """Return the row of a comparison about a metric in a group of languages; None if there is none."""
    kind, name = criterion.group
    if kind == "language":
        rows = [row for row in record.rows.get("comparison_results", ()) if row["language"] == name]
    else:
        aggregates = record.rows.get("aggregate_results", ())
        rows = [row for row in aggregates if (row["group_kind"], row["group_name"]) == (kind, name)]
    return next((row for row in rows if row["metric"] == criterion.metric), None)


def _contributions(columns: Mapping[str, Sequence[Any]], criterion: Criterion) -> tuple[tuple[str, ...], Array]:
    """Return the clusters of a group, and [2, C] their contributions and sizes, from the columns of the artefact."""
    wanted = (criterion.metric, *criterion.group)
    places = zip(columns["metric"], columns["group_kind"], columns["group_name"], strict=True)
    indices = [index for index, place in enumerate(places) if place == wanted]
    values = np.array([columns["contribution"], columns["size"]], dtype=np.float64)
    return tuple(columns["cluster"][index] for index in indices), values[:, indices]


def aligned(evidence: Sequence[Evidence]) -> tuple[Array, Array]:
    """Return the contributions and sizes of several comparisons, each [C, V], as shares of the sum of their sizes.

    Clusters are in the order of their first occurrence; one that a comparison lacks has size 0 there.
    """
    clusters, codes = shared_cluster_codes(part.clusters for part in evidence)
    contributions, sizes = np.zeros((len(clusters), len(evidence))), np.zeros((len(clusters), len(evidence)))
    for column, (part, rows) in enumerate(zip(evidence, codes, strict=True)):
        total = part.sizes.sum()
        contributions[rows, column], sizes[rows, column] = part.contributions / total, part.sizes / total
    return contributions, sizes


class Estimate(Protocol):
    """A paired difference."""

    def p_worse(self, margin: float) -> float:
        """Return the one-sided p-value of the hypothesis that the true difference is at most -margin.

        Args:
            margin: not 0; below 0, the difference has to be larger than a gain of that size.
        """

    @property
    def mirrored(self) -> "Estimate":
        """The estimate of the negative difference."""


@dataclass(frozen=True)
class ItemEstimate:
    """Difference of a binary metric over independent items."""

    counts: Counts

    def interval(self, level: float) -> Interval:
        """Return the interval of the tests of non-inferiority in both directions."""
        return equivalence_interval(*self.counts, level=level)

    def p_worse(self, margin: float) -> float:
        """Return the p-value of non-inferiority: Tango's score test and the binomial bound; exact if margin < 0."""
        if margin < 0:
            return superiority_p_value(*self.counts, margin=-margin)
        return noninferiority_p_value(*self.counts, margin=margin)

    @property
    def mirrored(self) -> "ItemEstimate":
        """The estimate of the negative difference."""
        return ItemEstimate(Counts(self.counts.n_lost, self.counts.n_gained, self.counts.n))


@dataclass(frozen=True)
class ClusterEstimate:
    """Difference that is a sum over clusters: the sign-flip test and its inversion.

    If few clusters contribute (`is_sparse`), random signs say little about what did not change yet. The interval then
    also covers `sparse_interval`, up to 0 if the sign flips reject 0. The p-value of a margin is therefore at least the
    tail at which `sparse_interval` ends at the margin or, if that is smaller, the one-sided p-value of 0.
    """

    contributions: Array
    """d, [C]."""
    sizes: Array
    """m, [C]."""
    is_bounded: bool = True
    """Whether no cluster can contribute more than its size: False for logarithms."""

    @property
    def bound(self) -> float | None:
        """1 if no cluster contributes more than its size, as with shares of right answers; otherwise None."""
        is_within = self.is_bounded and (np.abs(self.contributions) <= self.sizes * (1 + 1e-9)).all()
        return 1.0 if is_within else None

    def interval(self, level: float) -> Interval:
        """Return the interval of the sign-flip test."""
        flips = flips_of(len(self.sizes))
        return sign_flip_test(self.contributions, self.sizes, flips, level=level, bound=self.bound).interval

    def p_worse(self, margin: float) -> float:
        """Return the one-sided p-value of the sign flips at -margin, at least that of what was not seen."""
        p_value = self._p_above(-margin)
        if self.bound is None or p_value > HALF or not is_sparse(self.contributions, self.sizes, bound=self.bound):
            return p_value
        return max(p_value, min(self._sparse_p_above(-margin), self._p_above(0.0)))

    def _p_above(self, limit: float) -> float:
        """Return half the two-sided p-value of a difference of `limit`, or what is missing to 1 below it."""
        shifted = self.contributions - limit * self.sizes
        result = sign_flip_test(shifted, self.sizes, flips_of(len(self.sizes)), bound=None)
        return result.p_value / 2 if result.difference > 0 else 1 - result.p_value / 2

    def _sparse_p_above(self, limit: float) -> float:
        """Bisect the normal quantile at which the sparse interval begins at the limit."""
        low, high = 0.0, MAX_QUANTILE
        for _ in range(N_BISECTIONS):
            quantile = (low + high) / 2
            level = float(2 * special.ndtr(quantile) - 1)
            begin = sparse_interval(self.contributions, self.sizes, level=level, bound=1.0).low
            low, high = (quantile, high) if begin > limit else (low, quantile)
        return float(special.ndtr(-low))

    @property
    def mirrored(self) -> "ClusterEstimate":
        """The estimate of the negative difference."""
        return replace(self, contributions=-self.contributions)


@dataclass(frozen=True)
class IntervalEstimate:
    """Difference of which two intervals of one method are known, such as a bootstrap's or that of the worst language.

    The tail of a margin at the distance x from the difference is Phi(-z(x)). On each side of the difference, z is 0 at
    the difference, 1.645 at the end of the 90 % interval and 1.960 at that of the 95 % interval, linear between them,
    and rises beyond them by the smaller one of the slopes between both ends and up to the outer end, at most to 8.
    """

    difference: float
    interval95: Interval
    interval90: Interval

    def p_worse(self, margin: float) -> float:
        """Return the tail of -margin: below 5 % exactly if -margin is below the 90 % interval."""
        if self.difference + margin < 0:
            return 1 - self.mirrored.p_worse(-margin)
        inner, outer = (max(0.0, self.difference - each.low) for each in (self.interval90, self.interval95))
        return float(special.ndtr(-_quantile(self.difference + margin, inner=inner, outer=outer)))

    @property
    def mirrored(self) -> "IntervalEstimate":
        """The estimate of the negative difference."""
        return IntervalEstimate(-self.difference, self.interval95.mirrored, self.interval90.mirrored)


def _quantile(distance: float, *, inner: float, outer: float) -> float:
    """Return z of `IntervalEstimate` at a distance, with the distances of the 90 % and the 95 % end."""
    z_inner, z_outer = Z90, Z95
    if distance <= inner:
        return z_inner * distance / inner if inner > 0 and math.isfinite(inner) else 0.0
    slopes = [end / length for end, length in ((z_outer, outer), (z_outer - z_inner, outer - inner)) if length > 0]
    if distance <= outer:
        return z_inner + (distance - inner) * (z_outer - z_inner) / (outer - inner)
    return min(MAX_QUANTILE, z_outer + (distance - outer) * min(slopes, default=math.inf))


def estimate_of(evidence: Evidence) -> Estimate:
    """Return the estimate that the data of one comparison allow; its 90 % interval is that of the record."""
    if evidence.counts is not None:
        return ItemEstimate(evidence.counts)
    if evidence.row["test"] == SIGN_FLIP and evidence.clusters:
        return ClusterEstimate(evidence.contributions, evidence.sizes, is_bounded=not evidence.is_log)
    return IntervalEstimate(evidence.difference, evidence.interval("ci"), evidence.interval("ci90"))


def estimate_of_error(
    difference: float, standard_error: float, *, n_clusters: int
) -> ClusterEstimate | CrossedEstimate:
    """Return the estimate of a difference of which only the standard error is known.

    It has a t distribution with n_clusters - 1 degrees of freedom. Of a single cluster nothing is known but its value.
    """
    if n_clusters < 2 or not math.isfinite(standard_error):
        return ClusterEstimate(np.array([difference]), np.ones(1))
    return CrossedEstimate(difference, 0.0, standard_error**2, n_seeds=2, n_clusters=n_clusters)


def margin_p_value(estimate: Estimate, claim: ClaimName, margin: float, *, sign: int) -> float:
    """Return the p-value of a claim about a margin, which is supported if it is below 5 %.

    noninferior: one-sided test of "worse by at least the margin". equivalent: the larger of the two one-sided p-values
    of "worse by at least the margin" and "better by at least the margin" (TOST); at 5 % this is the test of the 90 %
    interval.

    Args:
        sign: 1 if higher values are better, -1 if lower values are.
    """
    better = estimate if sign > 0 else estimate.mirrored
    p_worse = better.p_worse(margin)
    return p_worse if claim == "noninferior" else max(p_worse, better.mirrored.p_worse(margin))


def opposite_p_value(estimate: Estimate, claim: ClaimName, margin: float, *, sign: int) -> float:
    """Return the p-value of the opposite of a claim about a margin.

    noninferior: one-sided test of "worse by at most the margin". equivalent: twice the smaller one of the p-values of
    "worse by at most the margin" and "better by at most the margin".

    Args:
        sign: 1 if higher values are better, -1 if lower values are.
    """
    better = estimate if sign > 0 else estimate.mirrored
    p_loss = better.mirrored.p_worse(-margin)
    return p_loss if claim == "noninferior" else min(1.0, 2 * min(p_loss, better.p_worse(-margin)))
