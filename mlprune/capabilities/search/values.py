"""Values of an objective and of constraints for the candidates of a batch, with intervals and tests."""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from mlprune.capabilities.search.measured_sums import MeasuredSums, MetricSums, TaskMetric
from mlprune.capabilities.search.strategy.objective import Constraint, Expression, Measure
from mlprune.evaluation.inference.estimates import flips_of
from mlprune.evaluation.inference.language_sums import MEANS, mean_shares
from mlprune.numeric.arrays import Array
from mlprune.numeric.statistics.bootstrap import bca_interval
from mlprune.numeric.statistics.clusters import Interval, exact_products, exactly_summable
from mlprune.numeric.statistics.subset_sums import TOLERANCE as EQUAL_SUMS

N_POINTS = 32
"""Points at which the linear function is compared with the expression."""
TOLERANCE = 1e-9
Measured = Mapping[Measure, TaskMetric]
"""Measure of an objective or a constraint -> its task and metric, with those that the text leaves out."""
Lookup = Callable[[Measure | Literal["kept"]], Array]


def linear_weights(expression: Expression, logarithmic: Set[Measure]) -> Mapping[Measure, float] | None:
    """Return the weight of each measure if the expression is linear in all of them; None if it is not.

    The share of weights kept may occur in any form that is added: it is the same in all samples of items. The weights
    are the expression's differences between 0 and 1 in one measure; they are checked at points drawn from
    `Generator(PCG64(0))`, standard normal for measures and uniform in (0, 1) for the share.

    Args:
        logarithmic: measures that are exponentials of means: the function is one of their logarithms.
    """
    measures = expression.measures
    generator = np.random.Generator(np.random.PCG64(0))
    points, kept = generator.standard_normal((N_POINTS, len(measures))), 1 - generator.random(N_POINTS)
    slopes = np.eye(len(measures))
    values = _values(expression, points, kept, logarithmic=logarithmic)
    at_zero = _values(expression, np.zeros_like(points), kept, logarithmic=logarithmic)
    one = np.ones(len(measures))
    origin = _values(expression, np.zeros_like(slopes), one, logarithmic=logarithmic)
    weights = _values(expression, slopes, one, logarithmic=logarithmic) - origin
    with np.errstate(invalid="ignore"):
        expected = at_zero + points @ weights
        scale = TOLERANCE * (1 + np.abs(points) @ np.abs(weights) + np.abs(at_zero))
        is_linear = np.abs(values - expected) <= scale  # False if a value is not a number
    return dict(zip(measures, weights.tolist(), strict=True)) if is_linear.all() else None


def _values(expression: Expression, points: Array, kept: Array, *, logarithmic: Set[Measure]) -> Array:
    """[points] values of the expression at points, [points, measures]."""
    columns = dict(zip(expression.measures, points.T, strict=True))

    def lookup(name: Measure | Literal["kept"]) -> Array:
        if name == "kept":
            return kept
        return np.asarray(np.exp(columns[name])) if name in logarithmic else columns[name]

    with np.errstate(all="ignore"):
        values = expression.value(lookup)
    return np.asarray(values + np.zeros_like(kept))


@dataclass(frozen=True)
class BatchValues:
    """The values of one objective for several candidates, of which the first is the dense model.

    Every value is a function of sums over the clusters, which all candidates, tasks and languages share.
    """

    expression: Expression
    sign: float
    """1 if the objective is maximised, -1 if it is minimised. Values have the direction of the recipe."""
    measured: Measured
    sums: MeasuredSums
    kept: Array
    """[candidates] share of the weights that is kept."""

    @cached_property
    def observed(self) -> Array:
        """[candidates]."""
        return self._of(self.expression.value(self._lookup(lambda table: table.observed)), ())

    @cached_property
    def resampled(self) -> Array:
        """[R, candidates] in the resamples that have an item of every task and language."""
        is_complete = self.sums.is_complete
        values = self.expression.value(self._lookup(lambda table: table.resampled[is_complete]))
        return self._of(values, (int(is_complete.sum()),))

    @cached_property
    def left_out(self) -> Array:
        """[C, candidates] without each cluster in turn."""
        return self._of(self.expression.value(self._lookup(lambda table: table.left_out)), (self.sums.n_clusters,))

    def violations(self, constraints: Sequence[Constraint]) -> Array:
        """Return by how much each candidate misses the constraints, the sum over all of them, [candidates]."""
        lookup = self._lookup(lambda table: table.observed)

        def of_dense(name: Measure | Literal["kept"]) -> Array:
            return lookup(name)[:1]

        missed = [constraint.violation(lookup, dense=of_dense) for constraint in constraints]
        return self._of(sum(missed, np.zeros(1)), ())

    def interval(self, candidate: int) -> Interval | None:
        """Return the 95 % BCa interval over the clusters; None if nothing varies between resamples, or is not finite.

        As for other resampled values: 1,999 resamples of clusters (seed 0), which all candidates of the batch share;
        the jackknife leaves out one cluster at a time.
        """
        value = float(self.observed[candidate])
        return varied_interval(self.resampled[:, candidate], value, self.left_out[:, candidate])

    def p_worse(self, candidates: Sequence[int], incumbent: int) -> list[float]:
        """Return the one-sided p-values of the hypothesis that a candidate is at least as good as the incumbent.

        An objective that is linear in means over items (shares of right answers, RankC, logarithms of perplexity; not
        `worst`, min, max or BLEU) has sign flips of clusters, as comparisons have (9,999 random sign vectors, seed 0,
        or all of them up to 13 clusters). With d_c the contribution of cluster c to the difference of the means, w_c
        its share of the items, averaged over the measures with the absolute values of their weights, and D the
        difference of the objective, in which the weights kept may have a part D - sum(d):

            e_c = d_c + (D - sum(d)) * w_c,   T_s = sum_c s_c * e_c
            p = (1 + #{T_s < T_1} + #{T_s = T_1, s not the observed signs} / 2) / K

        For other objectives it is counted from the resamples of the interval, with D_r the difference in resample r:

            p = (1 + #{D_r > 0} + #{D_r = 0} / 2) / (R + 1)

        Sums are equal if they differ by at most 1e-9 sum_c |e_c|, D_r is 0 if it is within 1e-9 of the largest one.
        """
        weights = self._weights
        if weights is None:
            differences = self.sign * (self.resampled[:, candidates] - self.resampled[:, [incumbent]])
            tolerance = EQUAL_SUMS * np.abs(differences).max(axis=0, initial=0.0)
            n_better = (differences > tolerance).sum(axis=0) + 0.5 * (np.abs(differences) <= tolerance).sum(axis=0)
            return [float(p) for p in (1 + n_better) / (len(differences) + 1)]
        effects = [self._effects(weights, candidate, incumbent) for candidate in candidates]
        return _one_sided_p_values(self.sign * np.stack(effects, axis=1)) if effects else []

    @cached_property
    def _weights(self) -> Mapping[Measure, float] | None:
        """Weights of the measures of an objective that is linear in means over items, else None."""
        tables = {measure: self._table(measure) for measure in self.expression.measures}
        for measure, table in tables.items():
            is_minimum = measure.group.kind == "worst" and len(table.indices(measure.group)) > 1
            if table.metric.inference not in MEANS or is_minimum:
                return None
        return linear_weights(self.expression, {measure for measure, table in tables.items() if table.is_log})

    def _effects(self, weights: Mapping[Measure, float], candidate: int, incumbent: int) -> Array:
        """Return e of `p_worse`, [C]."""
        n_clusters = self.sums.n_clusters
        effects, sizes, total = np.zeros(n_clusters), np.zeros(n_clusters), 0.0
        for measure, weight in weights.items():
            table = self._table(measure)
            ours, shares = _mean_parts(table, measure, candidate)
            theirs, _ = _mean_parts(table, measure, incumbent)
            effects += weight * (ours - theirs)
            sizes += abs(weight) * shares
            total += abs(weight)
        shares = sizes / total if total else np.full(n_clusters, 1 / n_clusters)
        rest = float(self.observed[candidate] - self.observed[incumbent] - effects.sum())
        return effects + rest * shares

    def _table(self, measure: Measure) -> MetricSums:
        return self.sums.tables[self.measured[measure]]

    def _lookup(self, values_of: Callable[[MetricSums], Array]) -> Lookup:
        """Return the values of measures, [..., candidates], from [..., candidates, languages] values of languages."""

        def lookup(name: Measure | Literal["kept"]) -> Array:
            if name == "kept":
                return self.kept
            table = self._table(name)
            return table.reduced(values_of(table), name.group)

        return lookup

    def _of(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Return values for every candidate: those of an objective without measures are equal in all samples."""
        return np.broadcast_to(values, (*shape, len(self.kept)))


def varied_interval(resampled: Array, value: float, left_out: Array) -> Interval | None:
    """Return the BCa interval; None if nothing varies between resamples, or a value is not finite."""
    is_known = math.isfinite(value) and np.isfinite(resampled).all() and np.isfinite(left_out).all()
    if not is_known or not resampled.size or np.ptp(resampled) == 0:
        return None
    return bca_interval(resampled, value, left_out)


def _mean_parts(table: MetricSums, measure: Measure, candidate: int) -> tuple[Array, Array]:
    """Return what each cluster adds to a mean over languages, and its share of the items, both [C]."""
    contributions, shares = mean_shares(table.metric, table.sums[:, candidate, table.indices(measure.group)])
    return contributions.mean(axis=1), shares.mean(axis=1)


def _one_sided_p_values(effects: Array) -> list[float]:
    """Return the share of sign vectors with at most the observed sum, of effects [C, tests]."""
    flipped = exact_products(flips_of(len(effects)), exactly_summable(effects, len(effects)))
    tolerance = EQUAL_SUMS * np.abs(effects).sum(axis=0)
    below = (flipped[1:] < flipped[0] - tolerance).sum(axis=0)
    equal = (np.abs(flipped[1:] - flipped[0]) <= tolerance).sum(axis=0)
    return [float(p) for p in (1 + below + 0.5 * equal) / len(flipped)]
