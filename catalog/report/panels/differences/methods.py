"""Methods, groups of languages and scales that figures of paired differences share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import LegendEntry, grouped
from catalog.report.drawing.heatmap import Scale
from catalog.report.filters import facets_of
from catalog.report.labels import METRIC_LABELS, method_label, number
from catalog.report.style import SeriesStyle, distinct_styles, series_style
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

METHOD = ("score", "set_kind", "propagation", "structure", "settings")
"""Columns whose values are a method."""
GROUP_LABELS: Mapping[str, str] = {"outside_english": "outside English", "worst": "worst language"}
"""Group of languages -> label."""
SeriesStyles = Mapping[tuple[Any, ...], SeriesStyle]
"""Method (the values of `METHOD`) -> style."""


def groups_first(names: Iterable[str]) -> list[str]:
    """Return the distinct names, groups first, then English, then the other languages, sorted."""
    order = [*GROUP_LABELS, "en"]
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


def method_styles(rows: Sequence[Row]) -> SeriesStyles:
    """Return the style of each method, by score and demonstrations; methods with settings get further styles.

    No two methods have the same mark. Of methods that differ only in their propagation, the one with `dense` changes.
    """
    with_settings = [method for method, _ in grouped((row for row in rows if row["settings"]), *METHOD)]
    plain = {method: series_style(*method[:2]) for method, _ in grouped(rows, *METHOD)}
    wanted = plain | {method: series_style(*method[:2], further=index) for index, method in enumerate(with_settings)}
    distinct = distinct_styles({method: wanted[method] for method in sorted(wanted, key=_is_dense)})
    return {method: distinct[method] for method in wanted}


def _is_dense(method: tuple[Any, ...]) -> bool:
    return bool(method[METHOD.index("propagation")] == "dense")


def method_legend(rows: Sequence[Row], styles: SeriesStyles, *, line: bool = True) -> tuple[LegendEntry, ...]:
    """Return one entry per method, with the facet `key` of its marks."""
    return tuple(
        LegendEntry.of_series(
            method_label(members[0]),
            styles[method],
            dashed=members[0]["propagation"] == "dense" and line,
            line=line,
            facets={**facets_of(members[0], only=("score",)), "key": method_key(styles, method)},
        )
        for method, members in grouped(rows, *METHOD)
    )


def method_key(styles: SeriesStyles, method: tuple[Any, ...]) -> str:
    """Return the facet `key` of a method's legend entry and marks."""
    return str(list(styles).index(method))


def scale_limits(rows: Sequence[Row], *, at_least: float = 0.01) -> tuple[float, float]:
    """Return limits of an axis of differences, which include 0 and the intervals of all methods but random pruning.

    If random pruning is the only method, its intervals count.
    """
    compared = [row for row in rows if row["score"] != "random"] or list(rows)
    ends = [row[name] for row in compared for name in ("difference", "ci_low", "ci_high") if row[name] is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.06 * max(high - low, at_least)
    return low - margin, high + margin


def change_legend(scale: Scale) -> LegendEntry:
    """Return the entry that explains the colours of changes of accuracy, which are symmetric around 0."""
    low, high = number(scale.low, signed=True), number(scale.high, signed=True)
    return LegendEntry(label=f"less accurate {low}|{high} more accurate than dense", scale=scale)


def difference_label(row: Row) -> str:
    """Return the label of an axis of differences."""
    metric = METRIC_LABELS[row["metric"]]
    return f"{metric} / dense" if row["scale"] == LOG_RATIO else f"{metric} − dense"


def format_ratios(row: Row, axes: Axes, *, which: str) -> None:
    """Show the ticks of an axis of logarithms as ratios.

    Args:
        which: `x` or `y`.
    """
    if row["scale"] == LOG_RATIO:
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _: f"{math.exp(value):.3g}")
