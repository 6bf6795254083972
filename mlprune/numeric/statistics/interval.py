"""Confidence interval: two ends in ascending order, and the checks that all intervals share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import BadInputError, PermanentError

SMALLEST_P_VALUE = float(np.finfo(np.float64).tiny)
"""Floor of all p-values of a formula, 2.2e-308: a p-value that underflows is small, not 0."""


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
