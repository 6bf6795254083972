"""Quality against sparsity: one panel per language, one line per method, the dense model as a horizontal line."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import NullLocator

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, english_first, grouped, has_several_rules
from catalog.report.drawing.svg import GRID, INK
from catalog.report.filters import facets_of, to_id
from catalog.report.labels import METRIC_LABELS, method_label, number, task_label
from catalog.report.style import SeriesStyle, series_style
from catalog.results import Row

_METHOD = ("score", "set_kind", "propagation", "structure", "settings")
_LINE = (*_METHOD, "demonstration_label")
_MAX_LINEAR_RATIO = 30.0
"""Ratio of the largest to the smallest value above which the scale is logarithmic."""
SeriesStyles = Mapping[tuple[Any, ...], SeriesStyle]
"""Method (the values of `_METHOD`) -> style."""
Limits = tuple[float, float, float]
"""Lowest and highest value and largest sparsity of all panels of a group."""


def quality_curves(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the curves of every model, task and metric.

    Args:
        rows: result of `quality_by_sparsity.sql`.
    """
    columns = ("base_model", "base_model_id", "task", "split", "metric", "scoring_rule", "example_limit")
    groups = []
    for _, members in grouped(rows, *columns):
        limits, styles = _limits(members), _method_styles(members)
        by_language = dict(grouped(members, "language"))
        panels = tuple(
            _language_panel(language, by_language[language,], limits=limits, styles=styles)
            for language in english_first(row["language"] for row in members)
        )
        task = task_label(members[0], with_rule=has_several_rules(rows, members[0]))
        title = f"{task}: {METRIC_LABELS[members[0]['metric']]}"
        facets = facets_of(members[0], only=("model", "task"))
        groups.append(Group(title=title, panels=panels, rows=members, legend=_legend(members, styles), facets=facets))
    return tuple(groups)


def _limits(rows: Sequence[Row]) -> Limits:
    """Return the axis limits that all panels share, so that panels can be compared."""
    lows = [row["value"] if row["ci_low"] is None else row["ci_low"] for row in rows]
    highs = [row["value"] if row["ci_high"] is None else row["ci_high"] for row in rows]
    low, high = min(lows), max(highs)
    sparsity = max(0.1, *(row["sparsity"] for row in rows))
    if _is_logarithmic(rows[0]["metric"], low, high):
        return low / 1.2, high * 1.2, sparsity
    margin = 0.04 * ((high - low) or 1.0)
    return max(0.0, low - margin), high + margin, sparsity


def _is_logarithmic(metric: str, low: float, high: float) -> bool:
    """Whether the scale is logarithmic, because the range of perplexities is too large for a linear one."""
    return metric == "perplexity" and low > 0 and high / low > _MAX_LINEAR_RATIO


def _method_styles(rows: Sequence[Row]) -> SeriesStyles:
    """Return the style of each method, by score and demonstrations; methods with settings get further styles."""
    with_settings = [method for method, _ in grouped((row for row in rows if row["settings"]), *_METHOD)]
    plain = {method: series_style(*method[:2]) for method, _ in grouped(rows, *_METHOD)}
    return plain | {method: series_style(*method[:2], further=index) for index, method in enumerate(with_settings)}


def _language_panel(language: str, rows: Sequence[Row], *, limits: Limits, styles: SeriesStyles) -> Panel:
    metric = METRIC_LABELS[rows[0]["metric"]]
    dense = [row for row in rows if row["score"] is None]
    n_methods = len(grouped((row for row in rows if row["score"] is not None), *_METHOD))
    label = f"{metric} in {language} against sparsity: {n_methods} method{'' if n_methods == 1 else 's'}"
    if dense:
        label += f", dense {number(dense[0]['value'])}"
    draw = partial(_draw_language, rows=rows, limits=limits, styles=styles)
    return Panel(label=label[0].upper() + label[1:], size=Size(3.3, 2.5, left=0.62), draw=draw)


def _draw_language(axes: Axes, *, rows: Sequence[Row], limits: Limits, styles: SeriesStyles) -> None:
    low, high, largest = limits
    axes.set_title(rows[0]["language"], color=INK, weight="bold")
    axes.grid(axis="y")
    if _is_logarithmic(rows[0]["metric"], low, high):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(low, high)
    axes.set_xlim(-0.02 * largest, largest * 1.04)
    axes.set_xlabel("sparsity")
    axes.set_ylabel(METRIC_LABELS[rows[0]["metric"]])
    for row in rows:
        if row["score"] is None:
            _draw_dense(axes, row)
    for line, points in grouped((row for row in rows if row["score"] is not None), *_LINE):
        method = line[:-1]
        _draw_line(axes, points, styles[method], key=list(styles).index(method))


def _draw_dense(axes: Axes, row: Row) -> None:
    if row["ci_low"] is not None and row["ci_high"] is not None:
        axes.axhspan(row["ci_low"], row["ci_high"], color=GRID, alpha=0.55, linewidth=0, zorder=0)
    axes.axhline(row["value"], color=INK, linewidth=1.1, zorder=1)


def _draw_line(axes: Axes, points: Sequence[Row], style: SeriesStyle, *, key: int) -> None:
    """Draw a line through the points of a method; its value at sparsity 0 is the dense model's.

    Args:
        key: index of the method's legend entry, which is hidden when its last line is hidden.
    """
    first = points[0]
    gid = to_id({**facets_of(first, only=("score", "pair")), "key": str(key)})
    with_interval = [row for row in points if row["ci_low"] is not None and row["ci_high"] is not None]
    sparsities = [row["sparsity"] for row in with_interval]
    lows, highs = ([row[end] for row in with_interval] for end in ("ci_low", "ci_high"))
    if len(sparsities) > 1:
        corners = [*zip(sparsities, lows, strict=True), *zip(sparsities[::-1], highs[::-1], strict=True)]
        axes.add_artist(Polygon(corners, color=style.colour, alpha=0.05, linewidth=0, zorder=2, gid=gid))
    elif sparsities:
        axes.vlines(sparsities, lows, highs, color=style.colour, linewidth=1.0, alpha=0.6, zorder=2, gid=gid)
    line = Line2D(
        [row["sparsity"] for row in points],
        [row["value"] for row in points],
        color=style.colour,
        linestyle="--" if first["propagation"] == "dense" else "-",
        linewidth=1.5,
        markersize=4.5,
        **style.marker_options,
        zorder=3,
        gid=gid,
    )
    axes.add_artist(line)
    if first["demonstration_label"] is not None:
        last = points[-1]
        at = (last["sparsity"], last["value"])
        axes.text(*at, first["demonstration_label"], fontsize=6.5, color=style.colour, ha="right", va="bottom", gid=gid)


def _legend(rows: Sequence[Row], styles: SeriesStyles) -> tuple[LegendEntry, ...]:
    """Return the legend: the dense model first, then every method."""
    entries = [LegendEntry(label="dense model", colour=INK)] if any(row["score"] is None for row in rows) else []
    for method, members in grouped((row for row in rows if row["score"] is not None), *_METHOD):
        entries.append(
            LegendEntry.of_series(
                method_label(members[0]),
                styles[method],
                dashed=members[0]["propagation"] == "dense",
                facets={**facets_of(members[0], only=("score",)), "key": str(list(styles).index(method))},
            )
        )
    return tuple(entries)
