"""Feature overlap: the share of the largest features of one demonstration set that are among the smallest of another.

Magnitudes come from `hidden_magnitudes`, averaged over demonstrations.
"""

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import BadInputError, ShapeError, StatisticsError


def top_features(magnitudes: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the indices of the k largest features, largest first; the lower index first for equal features.

    Args:
        magnitudes: [d], finite.
        k: number of features, 0 <= k <= d.
    Returns: [k], int64.
    Raises:
        ShapeError: `magnitudes` is not a vector, or k does not fit it.
        StatisticsError: a magnitude is not finite.
    """
    _check_magnitudes(magnitudes)
    if not 0 <= k <= magnitudes.size:
        raise ShapeError("too many features", expected=f"0 <= k <= {magnitudes.size}", got=k)
    return _order(-magnitudes.astype(np.float64))[:k]


def top_bottom_overlap(a: NDArray[np.float64], b: NDArray[np.float64], share: float) -> float:
    """Return the share of the largest features of A that are among the smallest of B.

    |top_p(A) intersected with bottom_p(B)| / round(p * d)        (Kim et al., arXiv:2409.16911)

    Near 0, features that are large in A are not small in B. `round` rounds halves to even. Of equal features, the lower
    index comes first at both ends. The published script always uses p = 0.4; this function uses the given p.

    Args:
        a: [d], magnitudes of set A.
        b: [d], magnitudes of set B.
        share: p, in (0, 1], at least half a feature.
    Returns: a fraction in [0, 1].
    Raises:
        ShapeError: the two are not vectors of one length.
        StatisticsError: a magnitude is not finite.
        BadInputError: the share is out of range, or selects no feature.
    """
    for magnitudes in (a, b):
        _check_magnitudes(magnitudes)
    if a.size != b.size:
        raise ShapeError("the two sets differ in their number of features", expected=a.size, got=b.size)
    if not 0 < share <= 1 or round(share * a.size) == 0:
        raise BadInputError("a share selects no features", expected="0 < share <= 1", got=share, n_features=a.size)
    k = round(share * a.size)
    bottom = _order(b.astype(np.float64))[:k]
    return np.intersect1d(top_features(a, k), bottom, assume_unique=True).size / k


def _order(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(values, kind="stable").astype(np.int64)


def _check_magnitudes(magnitudes: NDArray[np.float64]) -> None:
    if magnitudes.ndim != 1:
        raise ShapeError("magnitudes are not a vector", expected="[d]", got=magnitudes.shape)
    if not np.isfinite(magnitudes).all():
        raise StatisticsError("a magnitude is not finite", feature=int(np.argmin(np.isfinite(magnitudes))))
