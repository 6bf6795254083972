"""Clusters of items with sums in a fixed order, and confidence intervals.

Clusters of items: their sums, and sums that do not depend on the order of addition.

Items of one cluster (a territory, a premise, a passage) are dependent: resampling and sign flips move whole clusters. A
matrix product may add its terms in another order on another machine or with more threads. All inputs of such products
are therefore rounded to a grid on which every sum is exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.arrays import Array

SMALLEST_P_VALUE = float(np.finfo(np.float64).tiny)
"""Floor of all p-values of a formula, 2.2e-308: a p-value that underflows is small, not 0."""
MANTISSA_BITS = 53
BLOCK_ROWS = 256
"""Rows of a coefficient matrix that are converted to float64 at a time."""


@dataclass(frozen=True)
class Interval:
    """Confidence interval from `low` to `high`, both ends included.

    Raises:
        PermanentError: an end is not a number, or the ends are in the wrong order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise PermanentError("not an interval", expected="low <= high", got=(self.low, self.high))

    @property
    def width(self) -> float:
        """Distance of the two ends."""
        return self.high - self.low

    @property
    def mirrored(self) -> "Interval":
        """The interval of the negative value."""
        return Interval(-self.high, -self.low)

    def scaled(self, factor: float) -> "Interval":
        """Return the interval of the value times a positive factor."""
        return Interval(self.low * factor, self.high * factor)

    def reach_from(self, value: float) -> float:
        """Return the distance of a value from the farther end."""
        return max(value - self.low, self.high - value)

    def contains(self, value: float) -> bool:
        """Return whether the value is between the ends or equal to one."""
        return self.low <= value <= self.high


def check_level(level: float) -> None:
    """Refuse a coverage outside (0, 1).

    Raises:
        BadInputError: the level is out of range.
    """
    if not 0 < level < 1:
        raise BadInputError("a level is out of range", expected="0 < level < 1", got=level)


def positive_p_values(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move p-values into [2.2e-308, 1]: rounding may leave 0 or slightly more than 1."""
    return np.clip(p_values, SMALLEST_P_VALUE, 1.0)


@dataclass(frozen=True)
class RatioEstimate:
    """A ratio of two sums over clusters with its standard error."""

    value: float
    standard_error: float
    n_clusters: int
    """Clusters with a size above 0."""


def cluster_codes(labels: Sequence[str]) -> NDArray[np.int64]:
    """Number the clusters of items in the order of their first item, [n].

    An item with an empty label is a cluster of its own.
    """
    codes: dict[str | int, int] = {}
    return np.array(
        [codes.setdefault(label or index, len(codes)) for index, label in enumerate(labels)], dtype=np.int64
    )


def shared_cluster_codes(samples: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """Number the clusters of several samples of items together, in the order of their first items.

    Returns: names of the clusters, and the codes of each sample, [n].
    """
    codes: dict[str, int] = {}
    of_samples = [
        np.array([codes.setdefault(label, len(codes)) for label in labels], dtype=np.int64) for labels in samples
    ]
    return tuple(codes), of_samples


def cluster_sums(values: Array, codes: NDArray[np.int64], *, n_clusters: int | None = None) -> Array:
    """Add the rows of each cluster in the order of the items, [n_clusters, k].

    Args:
        values: [n, k], one row of statistics per item.
        codes: [n], the number of the item's cluster, from 0.
        n_clusters: number of clusters, of which some may have no item; None: one more than the highest code.
    Raises:
        ShapeError: the two have different lengths, or the items are empty.
    """
    if values.ndim != 2 or codes.shape != values.shape[:1] or not codes.size:
        raise ShapeError(
            "clusters do not fit the items", expected="values [n, k] and codes [n]", got=(values.shape, codes.shape)
        )
    n_clusters = n_clusters or int(codes.max()) + 1
    columns = [np.bincount(codes, weights=column, minlength=n_clusters) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.zeros((n_clusters, 0))


def exactly_summable(values: Array, n_terms: int) -> Array:
    """Round each column to a grid on which sums are exact in float64, in any order and with any number of threads.

    With 2^e the smallest power of two above the largest absolute value of a column, its grid has the step
    2^(e + ceil(log2(n_terms)) - 53). Halves go to the even multiple. A sum is exact if the absolute values of its
    coefficients, which are integers, add up to at most `n_terms`. Integers below 2^53 / n_terms are not changed.

    Args:
        values: [n, k], finite.
        n_terms: largest sum of absolute coefficients.
    Raises:
        PermanentError: a value is not finite.
    """
    if not np.isfinite(values).all():
        raise PermanentError("a cluster's statistic is not finite", n_wrong=int((~np.isfinite(values)).sum()))
    _, exponents = np.frexp(np.abs(values).max(axis=0, initial=0.0))
    steps = np.ldexp(1.0, exponents + max(0, n_terms - 1).bit_length() - MANTISSA_BITS)
    return np.asarray(np.rint(values / steps) * steps)


def exact_products(coefficients: NDArray[np.integer], values: Array) -> Array:
    """Multiply integer coefficients [r, n] by values [n, k] that are exactly summable, [r, k].

    Memory: blocks of 256 rows are converted to float64.
    """
    products = np.empty((len(coefficients), values.shape[1]))
    for start in range(0, len(coefficients), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        products[rows] = coefficients[rows].astype(np.float64) @ values
    return products


def ratio_estimate(contributions: Array, sizes: Array) -> RatioEstimate:
    """Return sum(contributions) / sum(sizes) and its linearised standard error.

    r = sum(d) / sum(m),   se = sqrt(C / (C - 1) * sum((d - r * m)^2)) / sum(m)      (Cochran, Sampling Techniques, 6.4)

    The standard error of a single cluster is infinite. Clusters of size 0 are ignored.

    Args:
        contributions: d, [C].
        sizes: m, [C], number of items, tokens or the sum of weights.
    Raises:
        ShapeError: the two differ in shape.
        PermanentError: a value is not finite, a size is negative, all sizes are 0, or a cluster of size 0 contributes.
    """
    d, m = sized_clusters(contributions, sizes)
    value, n = float(d.sum() / m.sum()), len(d)
    spread = float(((d - value * m) ** 2).sum())
    error = float(np.sqrt(n / (n - 1) * spread) / m.sum()) if n > 1 else float("inf")
    return RatioEstimate(value, error, n)


def sized_clusters(contributions: Array, sizes: Array) -> tuple[Array, Array]:
    """Return the contributions and sizes of the clusters whose size is above 0.

    Raises:
        ShapeError: the two differ in shape.
        PermanentError: a value is not finite, a size is negative, all sizes are 0, or a cluster of size 0 contributes.
    """
    if contributions.shape != sizes.shape or sizes.ndim != 1:
        raise ShapeError("contributions and sizes differ", expected=sizes.shape, got=contributions.shape)
    kept = sizes > 0
    is_wrong = ~np.isfinite(contributions) | ~np.isfinite(sizes) | (sizes < 0) | (~kept & (contributions != 0))
    if is_wrong.any() or not kept.any():
        raise PermanentError(
            "a cluster's contribution or size is impossible", n_clusters=len(sizes), n_wrong=int(is_wrong.sum())
        )
    return contributions[kept], sizes[kept]
