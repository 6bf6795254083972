"""Results of inference: a metric's value, and the difference between two evaluations."""

import math
from dataclasses import dataclass
from typing import Literal

from mlprune.json_values import JsonValue
from mlprune.numeric.statistics.interval import Interval
from mlprune.numeric.statistics.power import detectable_beyond, detectable_difference

LEVEL, NARROW_LEVEL = 0.95, 0.90
"""Coverage of all intervals, and of those whose ends are one-sided tests at 5 %. Both have the same rule and nest."""
SIGNIFICANCE = 0.05
"""Level of all tests. 1 - LEVEL is greater than 0.05 in floating point, so p = 0.05 would be below it."""

IntervalName = Literal[
    "wilson",
    "wilson_effective",
    "log_t",
    "log_bootstrap_t",
    "bca",
    "debiased",
    "score",
    "tango",
    "sign_flip",
    "minima",
]
TestName = Literal["tango", "sign_flip", "randomization", "minima"]
Scale = Literal["difference", "log_ratio"]


@dataclass(frozen=True)
class MetricValue:
    """A value with its 95 % interval."""

    value: float
    interval: Interval | None
    """None for the perplexity of a single cluster."""
    method: IntervalName
    standard_error: float | None
    """Of `value`; None for a single cluster."""
    n: int
    """Items."""
    n_clusters: int


@dataclass(frozen=True)
class Difference:
    """A paired difference between two evaluations, first minus second, with its test."""

    difference: float
    interval: Interval
    interval90: Interval
    """90 % interval by the same rule, inside `interval`."""
    method: IntervalName
    p_value: float
    """Two-sided."""
    test: TestName
    standard_error: float | None
    """None for a single cluster."""
    n: int
    n_clusters: int
    scale: Scale = "difference"
    p_mid_mcnemar: float | None = None
    """Mid-p-value of McNemar's test, which takes the items as independent; None unless all credit is 0 or 1."""
    n_gained: int | None = None
    """Items with more credit in the first evaluation; None if items have no credit."""
    n_lost: int | None = None
    smallest_significant: float | None = None
    """Smallest difference with p < 0.05 if all changes have one direction; None if items have no credit."""
    detectable_difference: float | None = None
    """True difference that this test finds with a power of 80 %."""

    @property
    def interval_contradicts_p(self) -> bool:
        """Whether the interval and the test disagree about a difference of 0."""
        return contradicts(self.interval, self.p_value)


def contradicts(interval: Interval, p_value: float) -> bool:
    """Return whether an interval and a p-value disagree: p < 0.05 with 0 in the interval, or the opposite."""
    return (p_value < SIGNIFICANCE) == interval.contains(0.0)


def detectable(
    difference: float, interval: Interval, *, standard_error: float | None, test: str, n_tests: int = 1
) -> float | None:
    """Return the true difference that a family of tests finds with a power of 80 %.

    That of the worst language follows from its interval, which is wider than a normal one with the same error.

    Args:
        interval: of 95 %.
        test: a `TestName`.
    Returns: None if the error is 0 or unknown: without changes, it says little about what could have been found.
    """
    if not standard_error:
        return None
    if test != "minima":
        return detectable_difference(standard_error, n_tests=n_tests)
    reach = interval.reach_from(difference)
    return finite(detectable_beyond(reach, standard_error, n_tests=n_tests))


def finite(value: float) -> float | None:
    """Return a number unless it is infinite."""
    return value if math.isfinite(value) else None


def interval_columns(name: str, interval: Interval | None) -> dict[str, JsonValue]:
    """Return the columns `{name}_low` and `{name}_high` of the catalog; null without an interval, or for infinity."""
    low, high = (None, None) if interval is None else (finite(interval.low), finite(interval.high))
    return {f"{name}_low": low, f"{name}_high": high}
