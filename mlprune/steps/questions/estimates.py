"""Estimates of a paired difference: 90 % intervals, and tests of a margin that agree with them."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from mlprune.numeric.statistics.cluster_score import is_sparse, score_interval
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.equivalence import equivalence_interval, noninferiority_p_value
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.sign_flips import sign_flip_test, sign_flips
from mlprune.numeric.statistics.variance_components import CrossedEstimate
from mlprune.steps.questions.evidence import Counts, Evidence
from mlprune.vocabulary import ClaimName

N_BISECTIONS = 30
MAX_QUANTILE = 8.0
"""Largest normal quantile of a score interval; p-values below 6e-16 are not distinguished."""


class Estimate(Protocol):
    """A paired difference."""

    def interval(self, level: float) -> Interval:
        """Return the two-sided confidence interval."""

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

    If fewer than 30 clusters contribute, and none by more than its size, random signs say little about what did not
    change yet. The interval then also covers the score interval, and the test of a margin has at least the p-value at
    which that interval begins at the margin. If clusters contribute all of their size or nothing, they also count as
    items: with u = sum(m^2) / sum(m) the size of a typical one, there are sum(m) / u of them, of which
    sum(max(d, 0)) / u are gained and sum(max(-d, 0)) / u lost. The larger p-value and the wider interval count.
    """

    contributions: Array
    """d, [C]."""
    sizes: Array
    """m, [C]."""

    @property
    def bound(self) -> float | None:
        """1 if no cluster contributes more than its size, as with shares of right answers; otherwise None."""
        return 1.0 if (np.abs(self.contributions) <= self.sizes * (1 + 1e-9)).all() else None

    @property
    def _is_sparse(self) -> bool:
        return self.bound is not None and is_sparse(self.contributions, self.sizes, bound=self.bound)

    @property
    def as_items(self) -> ItemEstimate | None:
        """The clusters as items, if few of them contribute, and all of their size; otherwise None."""
        d, m = self.contributions, self.sizes
        is_whole = (d == 0) | (np.abs(np.abs(d) - m) <= m * 1e-9)
        if not (self._is_sparse and is_whole.all()):
            return None
        unit = float((m**2).sum() / m.sum())
        gained, lost = float(np.maximum(d, 0).sum() / unit), float(np.maximum(-d, 0).sum() / unit)
        return ItemEstimate(Counts(gained, lost, float(m.sum() / unit)))

    def interval(self, level: float) -> Interval:
        """Return the interval of the sign-flip test, at least that of the clusters as items."""
        flips = sign_flips(len(self.sizes))
        interval = sign_flip_test(self.contributions, self.sizes, flips, level=level, bound=self.bound).interval
        if self.as_items is None:
            return interval
        other = self.as_items.interval(level)
        return Interval(min(interval.low, other.low), max(interval.high, other.high))

    def p_worse(self, margin: float) -> float:
        """Return half the two-sided p-value of -margin, or its complement below -margin."""
        shifted = self.contributions + margin * self.sizes
        result = sign_flip_test(shifted, self.sizes, sign_flips(len(self.sizes)), bound=None)
        p_value = result.p_value / 2 if result.difference > 0 else 1 - result.p_value / 2
        if self._is_sparse and result.difference > 0:
            p_value = max(p_value, self._score_p_worse(margin))
        return p_value if self.as_items is None else max(p_value, self.as_items.p_worse(margin))

    def _score_p_worse(self, margin: float) -> float:
        """Bisect the normal quantile at which the score interval begins at -margin."""
        low, high = 0.0, MAX_QUANTILE
        for _ in range(N_BISECTIONS):
            quantile = (low + high) / 2
            level = float(2 * special.ndtr(quantile) - 1)
            begin = score_interval(self.contributions, self.sizes, level=level, bound=1.0).low
            low, high = (quantile, high) if begin > -margin else (low, quantile)
        return float(special.ndtr(-low))

    @property
    def mirrored(self) -> "ClusterEstimate":
        """The estimate of the negative difference."""
        return ClusterEstimate(-self.contributions, self.sizes)


def estimate_of(evidence: Evidence) -> Estimate:
    """Return the estimate that the data of one comparison allow."""
    if evidence.counts is not None:
        return ItemEstimate(evidence.counts)
    if evidence.clusters:
        return ClusterEstimate(evidence.contributions, evidence.sizes)
    return estimate_of_error(evidence.difference, evidence.standard_error, n_clusters=evidence.n_clusters)


def estimate_of_error(difference: float, standard_error: float, *, n_clusters: int) -> Estimate:
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
