"""Estimates of a paired difference: tests of a margin that agree with their 90 % intervals."""

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import special

from mlprune.evaluation.inference.samples import flips_of
from mlprune.numeric.statistics.cluster_score import is_sparse, sparse_interval
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.equivalence import equivalence_interval, noninferiority_p_value
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.sign_flips import sign_flip_test
from mlprune.numeric.statistics.variance_components import CrossedEstimate
from mlprune.steps.questions.evidence import SIGN_FLIP, Counts, Evidence
from mlprune.vocabulary import ClaimName

N_BISECTIONS = 30
MAX_QUANTILE = 8.0
"""Largest normal quantile of an interval; p-values below 6e-16 are not distinguished."""
Z90, Z95 = float(special.ndtri(0.95)), float(special.ndtri(0.975))
HALF = 0.5
"""One-sided p-value of a hypothesis at the estimate."""


class Estimate(Protocol):
    """A paired difference."""

    def p_worse(self, margin: float) -> float:
        """Return the one-sided p-value of the hypothesis that the true difference is at most -margin."""

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
        """Return the p-value of non-inferiority: Tango's score test and the binomial bound."""
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
