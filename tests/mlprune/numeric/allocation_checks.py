"""Properties that the sparsities of every allocation around a total have."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import pytest

from mlprune.numeric.allocation import MOST


class Allocate(Protocol):
    """A function from the values and sizes of parts to their sparsities."""

    def __call__(
        self, values: Sequence[float], sparsity: float, *, spread: float, n_weights: Sequence[int]
    ) -> Sequence[float]: ...


def check_allocation(
    allocate: Allocate, parts: list[tuple[float, int]], totals: tuple[float, float], *, spread: float, rises: bool
) -> None:
    """Check range, weighted mean and order of the sparsities for two totals, of which the higher lowers no part.

    Args:
        parts: value and number of weights of every part.
        rises: a higher value means a higher sparsity; otherwise a lower one.
    """
    values, sizes = [value for value, _ in parts], [n for _, n in parts]
    low, high = (allocate(values, total, spread=spread, n_weights=sizes) for total in sorted(totals))
    for total, result in zip(sorted(totals), (low, high), strict=True):
        assert sum(n * s for n, s in zip(sizes, result, strict=True)) / sum(sizes) == pytest.approx(total, abs=1e-9)
        assert all(0 <= one <= MOST for one in result)
        by_value = [one if rises else -one for _, one in sorted(zip(values, result, strict=True))]
        assert all(first <= second + 1e-9 for first, second in pairwise(by_value))
    assert all(first <= second + 1e-12 for first, second in zip(low, high, strict=True))
