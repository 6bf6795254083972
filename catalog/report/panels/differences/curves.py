"""Paired difference to dense against sparsity: one panel per language, one line per method."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, grouped
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of, to_id
from catalog.report.labels import METRIC_LABELS, number
from catalog.report.panels.differences.methods import (
    GROUP_LABELS,
    METHOD,
    SeriesStyles,
    difference_label,
    format_ratios,
    groups_first,
    method_key,
    method_legend,
    method_styles,
    scale_limits,
)
from catalog.report.panels.tasks import by_task
from catalog.report.style import SeriesStyle
from catalog.results import Row

_LINE = (*METHOD, "demonstration_label")


def difference_curves(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw the curves of every model, task and metric. Each panel has a scale of its own, around 0.

    Args:
        rows: result of `difference_by_sparsity.sql`.
    """
    groups = []
    for task, members in by_task(rows, "metric"):
        styles = method_styles(members)
        largest = max(0.1, *(row["sparsity"] for row in members))
        by_language = dict(grouped(members, "language"))
        panels = tuple(
            _language_panel(language, by_language[language,], largest=largest, styles=styles)
            for language in groups_first(row["language"] for row in members)
        )
        title = f"{task}: {METRIC_LABELS[members[0]['metric']]}"
        legend = (LegendEntry(label="dense model", colour=INK), *method_legend(members, styles))
        facets = facets_of(members[0], only=("model", "task"))
        groups.append(Group(title=title, panels=panels, rows=members, legend=legend, facets=facets))
    return tuple(groups)


def _language_panel(language: str, rows: Sequence[Row], *, largest: float, styles: SeriesStyles) -> Panel:
    metric, where = METRIC_LABELS[rows[0]["metric"]], GROUP_LABELS.get(language, f"in {language}")
    n_methods = len(grouped(rows, *METHOD))
    label = f"Difference of {metric} from dense {where} against sparsity: {n_methods} method"
    label += f"{'' if n_methods == 1 else 's'}, dense {number(rows[0]['dense_value'])}"
    draw = partial(_draw_language, rows=rows, largest=largest, styles=styles)
    return Panel(label=label, size=Size(3.3, 2.5, left=0.68), draw=draw)


def _draw_language(axes: Axes, *, rows: Sequence[Row], largest: float, styles: SeriesStyles) -> None:
    first = rows[0]
    axes.set_title(_title(first), color=INK, weight="bold", fontsize=8.5)
    axes.grid(axis="y")
    axes.axhline(0.0, color=INK, linewidth=1.1, zorder=1)
    shown = [row for row in rows if row["demonstration_label"] is None]
    axes.set_ylim(*scale_limits(shown or rows))
    axes.set_xlim(-0.02 * largest, largest * 1.04)
    axes.set_xlabel("sparsity")
    axes.set_ylabel(difference_label(first))
    format_ratios(first, axes, which="y")
    for line, points in grouped(rows, *_LINE):
        method = line[:-1]
        _draw_line(axes, points, styles[method], key=method_key(styles, method))


def _title(row: Row) -> str:
    """Return the language, the dense model's value, and the chance level or a limit that the value has reached."""
    title = f"{GROUP_LABELS.get(row['language'], row['language'])}   dense {number(row['dense_value'])}"
    if row["dense_limit"] == "floor":
        return f"{title}, not above chance {number(row['chance'])}"
    if row["chance"] is not None:
        title += f", chance {number(row['chance'])}"
    return f"{title}, ceiling" if row["dense_limit"] == "ceiling" else title


def _draw_line(axes: Axes, points: Sequence[Row], style: SeriesStyle, *, key: str) -> None:
    """Draw a line from the dense model, at 0, through the points of a method, with the intervals of single variants.

    Args:
        key: index of the method's legend entry, which is hidden when its last line is hidden.
    """
    first = points[0]
    gid = to_id({**facets_of(first, only=("score", "pair")), "key": key})
    _draw_intervals(axes, points, style, gid=gid)
    line = Line2D(
        [0.0, *(row["sparsity"] for row in points)],
        [0.0, *(row["difference"] for row in points)],
        color=style.colour,
        linestyle="--" if first["propagation"] == "dense" else "-",
        linewidth=1.5,
        markersize=4.5,
        markevery=list(range(1, len(points) + 1)),
        **style.marker_options,
        zorder=3,
        gid=gid,
    )
    axes.add_artist(line)
    if first["demonstration_label"] is not None:
        last = points[-1]
        at = (last["sparsity"], last["difference"])
        axes.text(*at, first["demonstration_label"], fontsize=6.5, color=style.colour, ha="right", va="bottom", gid=gid)


def _draw_intervals(axes: Axes, points: Sequence[Row], style: SeriesStyle, *, gid: str) -> None:
    with_interval = [row for row in points if row["ci_low"] is not None and row["ci_high"] is not None]
    sparsities = [row["sparsity"] for row in with_interval]
    lows, highs = ([row[end] for row in with_interval] for end in ("ci_low", "ci_high"))
    if len(sparsities) > 1:
        corners = [*zip(sparsities, lows, strict=True), *zip(sparsities[::-1], highs[::-1], strict=True)]
        axes.add_artist(Polygon(corners, color=style.colour, alpha=0.08, linewidth=0, zorder=2, gid=gid))
    elif sparsities:
        axes.vlines(sparsities, lows, highs, color=style.colour, linewidth=1.0, alpha=0.6, zorder=2, gid=gid)
