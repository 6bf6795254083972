"""Mean over several seeds, with an interval that contains the variation between items and between seeds."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from mlprune.errors import BadInputError
from mlprune.numeric.statistics.clusters import Array
from mlprune.numeric.statistics.interval import Interval, check_level, positive_p_values


@dataclass(frozen=True)
class StudentEstimate:
    """An estimate whose error has a t distribution; infinite degrees of freedom give a normal distribution."""

    value: float
    standard_error: float
    degrees_of_freedom: float = math.inf

    def interval(self, level: float) -> Interval:
        """Return value -+ t * standard error, with t the quantile (1 + level) / 2."""
        check_level(level)
        quantile = (1 + level) / 2
        is_normal = math.isinf(self.degrees_of_freedom)
        critical = special.ndtri(quantile) if is_normal else special.stdtrit(self.degrees_of_freedom, quantile)
        half = float(critical) * self.standard_error
        return Interval(self.value - half, self.value + half)

    def p_above(self, limit: float) -> float:
        """Return the one-sided p-value of the hypothesis that the true value is at most `limit`.

        Without any error it is 1 up to the estimate, and 2.2e-308 above it.
        """
        distance = self.value - limit
        if self.standard_error == 0:
            tail = 0.0 if distance > 0 else 1.0
        else:
            tail = _tail(distance / self.standard_error, self.degrees_of_freedom)
        return float(positive_p_values(np.asarray(tail)))

    def p_worse(self, margin: float) -> float:
        """Return the one-sided p-value of the hypothesis that the true value is at most -margin."""
        return self.p_above(-margin)

    @property
    def p_value(self) -> float:
        """Return the two-sided p-value of the hypothesis that the true value is 0."""
        return min(1.0, 2 * min(self.p_above(0.0), self.mirrored.p_above(0.0)))

    @property
    def mirrored(self) -> "StudentEstimate":
        """Return the estimate of the negative value."""
        return StudentEstimate(-self.value, self.standard_error, self.degrees_of_freedom)


def pooled_over_seeds(values: Array, item_error: float, *, n_clusters: int) -> StudentEstimate:
    """Return the mean of the values of several seeds, all measured on the same items.

    se^2 = item_error^2 + s^2 / S,   df = se^4 / (item_error^4 / (C - 1) + (s^2 / S)^2 / (S - 1))

    s^2 is the variance of the S values (divisor S - 1), C the number of clusters of items; the degrees of freedom are
    Satterthwaite's. s^2 also contains what items and seeds vary jointly, which `item_error` contains too: the standard
    error is rather too large than too small.

    Args:
        values: [S], one estimate per seed.
        item_error: standard error of the mean over resampled items, given these seeds.
        n_clusters: number of clusters of items.
    Raises:
        BadInputError: there are fewer than two seeds or clusters.
    """
    n_seeds = len(values)
    if n_seeds < 2 or n_clusters < 2:
        raise BadInputError("nothing to pool", expected="seeds and clusters >= 2", got=(n_seeds, n_clusters))
    of_items, of_seeds = item_error**2, float(values.var(ddof=1)) / n_seeds
    spread = of_items**2 / (n_clusters - 1) + of_seeds**2 / (n_seeds - 1)
    degrees = (of_items + of_seeds) ** 2 / spread if spread > 0 else math.inf
    return StudentEstimate(float(values.mean()), math.sqrt(of_items + of_seeds), degrees)


def _tail(score: float, degrees_of_freedom: float) -> float:
    """Return P(X >= score)."""
    if math.isinf(degrees_of_freedom):
        return float(special.ndtr(-score))
    return float(special.stdtr(degrees_of_freedom, -score))
