"""Corrections of p-values for the size of their family."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust a family of p-values by Holm's step-down method: the family-wise error rate stays at the level.

    With p sorted ascending, adjusted_(i) = min(1, max over k <= i of (m - k) * p_(k)), k from 0. Equal p-values get
    equal adjusted values.

    Args:
        p_values: the family, in any order.
    Returns: adjusted p-values in the order of `p_values`.
    Raises:
        PermanentError: a value is not in [0, 1].
    """
    family = _family(p_values)
    order = np.argsort(family, kind="stable")
    stepped = family[order] * np.arange(family.size, 0, -1)
    return _unsorted(np.maximum.accumulate(stepped), order)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the q-values of Benjamini and Hochberg: rejecting q <= level keeps the false discovery rate at the level.

    With p sorted ascending, q_(i) = min(1, min over k >= i of m / k * p_(k)), k from 1. Equal p-values get equal
    q-values. The p-values may be independent or positively dependent.

    Args:
        p_values: the family, in any order.
    Returns: q-values in the order of `p_values`.
    Raises:
        PermanentError: a value is not in [0, 1].
    """
    family = _family(p_values)
    order = np.argsort(family, kind="stable")
    scaled = family[order] * (family.size / np.arange(1, family.size + 1))
    return _unsorted(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _family(p_values: Sequence[float]) -> NDArray[np.float64]:
    family = np.asarray(p_values, dtype=np.float64)
    wrong = ~((family >= 0) & (family <= 1))
    if wrong.any():
        raise PermanentError("not a p-value", index=int(np.argmax(wrong)), got=float(family[np.argmax(wrong)]))
    return family


def _unsorted(adjusted: NDArray[np.float64], order: NDArray[np.intp]) -> list[float]:
    values = np.empty_like(adjusted)
    values[order] = np.minimum(1.0, adjusted)
    return [float(value) for value in values]
