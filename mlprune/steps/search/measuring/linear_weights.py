"""Weights of the measures of an objective that is a linear function of them."""

from collections.abc import Mapping, Set
from typing import Literal

import numpy as np

from mlprune.numeric.statistics.clusters import Array
from mlprune.search.objective.expression import Expression
from mlprune.search.objective.measure import Measure

N_POINTS = 32
"""Points at which the linear function is compared with the expression."""
TOLERANCE = 1e-9


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
