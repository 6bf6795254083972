"""Differences, intervals, bounds and p-values as text, in points or, for perplexity, as ratios."""

import math
from collections.abc import Sequence

from catalog.report.labels import number
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO, is_higher_better


def sign_of(metric: str) -> int:
    """Return 1 if higher values of a metric are better, else -1."""
    return 1 if is_higher_better(metric) else -1


def gain_of(row: Row) -> float:
    """Return the difference with a positive sign if it is an improvement, whatever direction is better."""
    return sign_of(row["metric"]) * float(row["difference"])


def best_of(rows: Sequence[Row]) -> Row:
    """Return the row with the largest gain, or the smallest loss; the first of equal ones."""
    return max(rows, key=gain_of)


def change(value: float | None, scale: str | None) -> str:
    """Return a difference with its sign, such as `+0.013`, or a ratio such as `×1.013`."""
    if scale == LOG_RATIO and value is not None:
        return f"×{number(math.exp(value))}"
    return number(value, signed=True)


def change_interval(row: Row, columns: str = "ci") -> str:
    """Return ` (low to high)` of the columns `<columns>_low` and `<columns>_high`; empty without an interval."""
    low, high = row[f"{columns}_low"], row[f"{columns}_high"]
    if low is None and high is None:
        return ""
    ends = [change(end, row["scale"]) if end is not None else "unbounded" for end in (low, high)]
    return f" ({ends[0]} to {ends[1]})"


def magnitude(value: float, scale: str | None) -> str:
    """Return the size of a difference without its sign, such as `1.3 points`, or `1.3 %` for a ratio."""
    share, unit = (math.expm1(value), "%") if scale == LOG_RATIO else (value, "points")
    return f"{100 * share:.1f} {unit}"


def bound(value: float, scale: str | None) -> str:
    """Return an upper bound of a difference's size, rounded up to one decimal of a point."""
    share, unit = (math.expm1(value), "%") if scale == LOG_RATIO else (value, "points")
    return f"{math.ceil(round(1000 * share, 6)) / 10:.1f} {unit}"


def loss_bound(row: Row) -> float | None:
    """Return the one-sided 95 % bound of the loss: the bad end of the 90 % interval, at most 100 points."""
    sign = sign_of(row["metric"])
    end: float | None = row["ci90_low"] if sign > 0 else row["ci90_high"]
    if end is None:
        return None
    return -sign * end if row["scale"] == LOG_RATIO else min(-sign * end, 1.0)


def p_text(value: float | None, method: str = "") -> str:
    """Return a p-value such as `p = 0.041, max-T` or `p < 0.001`."""
    if value is None:
        return "no p-value"
    text = "p < 0.001" if value < 0.001 else f"p = {number(value)}"
    return f"{text}, {method}" if method else text


def corrected_p(row: Row) -> tuple[float | None, str]:
    """Return the p-value of an answer after correction over its family, and the name of the correction."""
    if row["n_family"] == 1:
        return row["p_value"], ""
    return (row["p_holm"], "Holm") if row["p_max_t"] is None else (row["p_max_t"], "max-T")
