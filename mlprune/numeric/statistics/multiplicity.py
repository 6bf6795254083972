"""Corrections of p-values for the size of their family."""

from collections.abc import Sequence

import numpy as np

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
    family = np.asarray(p_values, dtype=np.float64)
    wrong = ~((family >= 0) & (family <= 1))
    if wrong.any():
        raise PermanentError("not a p-value", index=int(np.argmax(wrong)), got=float(family[np.argmax(wrong)]))
    order = np.argsort(family, kind="stable")
    stepped = np.maximum.accumulate(family[order] * np.arange(family.size, 0, -1))
    adjusted = np.empty_like(family)
    adjusted[order] = np.minimum(1.0, stepped)
    return [float(value) for value in adjusted]
