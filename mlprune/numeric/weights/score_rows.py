"""Rows that are scored together, and checks of the statistics that scores read."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError

_WEIGHTS_TOGETHER = 2**16
"""Rows are scored in chunks of about this many weights, so that intermediate values stay in the cache."""


def row_chunks(weight: Tensor) -> Iterator[slice]:
    """Yield slices that cover all rows of [out, in]; they depend on the shape only."""
    n_together = max(1, _WEIGHTS_TOGETHER // max(1, weight.shape[1]))
    return (slice(start, start + n_together) for start in range(0, weight.shape[0], n_together))


def check_norms(weight: Tensor, norms: Tensor) -> None:
    """Check a weight, [out, in], and the norms of the features that it reads, [in].

    Raises:
        ShapeError: they do not fit together.
        StatisticsError: a norm is negative or not finite.
    """
    if weight.ndim != 2 or norms.shape != weight.shape[1:]:
        raise ShapeError("statistics do not fit the weight", expected=tuple(weight.shape[1:]), got=tuple(norms.shape))
    check_non_negative(norms, "a feature norm is negative or not finite")


def check_non_negative(values: Tensor, message: str) -> None:
    """Check values of features, [in].

    Raises:
        StatisticsError: one is negative or not finite.
    """
    wrong = ~(torch.isfinite(values) & (values >= 0))
    if bool(wrong.any()):
        feature = int(wrong.nonzero()[0])
        raise StatisticsError(message, feature=feature, got=float(values[feature]))
