"""Choice among candidates on a sample: the rule, its stability under resampling, and Pareto fronts.

Candidates come in the order of preference: of several equally good ones the first is chosen. Higher values are better.
Values are compared after rounding to multiples of 2^-30, so that those that differ by rounding errors alone are equal.
"""

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError
from mlprune.numeric.arrays import Array

TIED = 2.0**-30
"""Step of the grid on which values are compared. No share of up to 2^30 items is half-way between two steps."""


def best_candidate(values: Array) -> int:
    """Return the index of the best candidate, the first one of several.

    Args:
        values: [V], in the order of preference.
    Raises:
        ShapeError: `values` is empty.
        PermanentError: a value is not finite.
    """
    return int(_on_grid(values[None]).argmax(axis=1)[0])


def n_tied(values: Array) -> int:
    """Return how many candidates have the best value.

    Args and Raises: as in `best_candidate`.
    """
    rounded = _on_grid(values[None])[0]
    return int((rounded == rounded.max()).sum())


def win_shares(resampled: Array) -> Array:
    """Return the share of resamples in which each candidate is chosen by the rule of `best_candidate`, [V].

    The shares add up to 1. They say how stable a choice is: the credit of a tie goes to the candidate that would be
    chosen, because the question is what the same rule would do with other items.

    Args:
        resampled: [R, V], candidates in the order of preference.
    Raises:
        ShapeError: `resampled` is not a matrix, or empty.
        PermanentError: a value is not finite.
    """
    winners = _on_grid(resampled).argmax(axis=1)
    return np.bincount(winners, minlength=resampled.shape[1]) / len(resampled)


def pareto_front(first: Array, second: Array) -> NDArray[np.bool_]:
    """Return which candidates are on the Pareto front of two values, [R, V].

    A candidate is on the front if no other one is at least as good in both values and better in one. Candidates that
    are equal in both are on the front together, or not at all.

    Args:
        first: [R, V].
        second: [R, V].
    Raises:
        ShapeError: the two are not matrices of one shape, or empty.
        PermanentError: a value is not finite.
    """
    if first.shape != second.shape:
        raise ShapeError("the values of a Pareto front differ in shape", expected=first.shape, got=second.shape)
    one, other = _on_grid(first), _on_grid(second)
    order = np.lexsort((-other, -one), axis=-1)
    one, other = (np.take_along_axis(values, order, axis=1) for values in (one, other))
    before = np.maximum.accumulate(other, axis=1)
    is_higher = np.ones(one.shape, dtype=np.bool_)
    is_higher[:, 1:] = other[:, 1:] > before[:, :-1]
    is_distinct = np.ones(one.shape, dtype=np.bool_)
    is_distinct[:, 1:] = (one[:, 1:] != one[:, :-1]) | (other[:, 1:] != other[:, :-1])
    leaders = np.maximum.accumulate(np.where(is_distinct, np.arange(one.shape[1]), 0), axis=1)
    on_front = np.empty(one.shape, dtype=np.bool_)
    np.put_along_axis(on_front, order, np.take_along_axis(is_higher, leaders, axis=1), axis=1)
    return on_front


def keeps_both(first: Array, second: Array, *, reference: int) -> NDArray[np.bool_]:
    """Return which candidates are at least as good as the reference candidate in both values, [R, V].

    Args:
        first: [R, V].
        second: [R, V].
        reference: index of the candidate that the others are compared with.
    Raises: as in `pareto_front`.
    """
    if first.shape != second.shape:
        raise ShapeError("two values of candidates differ in shape", expected=first.shape, got=second.shape)
    one, other = _on_grid(first), _on_grid(second)
    return np.asarray((one >= one[:, [reference]]) & (other >= other[:, [reference]]))


def _on_grid(values: Array) -> Array:
    """Return values as multiples of the grid's step."""
    if values.ndim != 2 or not values.size:
        raise ShapeError(
            "a choice needs values of candidates", expected="[n_resamples, n_candidates]", got=values.shape
        )
    if not np.isfinite(values).all():
        raise PermanentError("the value of a candidate is not finite", n_wrong=int((~np.isfinite(values)).sum()))
    return np.rint(values / TIED)
