"""Paired differences to dense: curves over sparsity, and variation over seeds."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from catalog.report import exhibits, labels
from catalog.report.marks import Dots, Look, Mark, legend_of, name_ends, start
from catalog.report.styles import (
    BLACK,
    BLUE,
    INK,
    MAX_IN_LEGEND,
    METHOD,
    ORANGE,
    SeriesStyle,
    SeriesStyles,
    method_styles,
)
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

TASK = ("base_model", "base_model_id", "task", "split", "scoring_rule", "example_limit")
"""Columns whose values are a model, a task and a way of evaluating it."""
GROUP_LABELS: Mapping[str, str] = {"outside_english": "outside English"}
"""Group of languages -> label."""
MAX_LOG_RATIO = 20.0
"""Largest logarithm of a ratio at a tick."""
_POINTS = 40
"""Most points of a panel, pairs apart, that are drawn as dots with names, and not as lines."""
_PALE = 0.35
MAX_METHODS, MAX_GROUPS = 20, 4
"""Maximum number of rows of a panel, and of languages or groups of languages of a task; at even distances."""
_CHANGE = Mark("difference to dense", "difference", SeriesStyle(BLACK, "D"))
_DEVIATIONS = (
    Mark("due to the seed", "seed_deviation", SeriesStyle(ORANGE, "s"), ends=""),
    Mark("due to the items", "item_deviation", SeriesStyle(BLUE, "o"), ends=""),
)


def by_task(rows: Sequence[Row], *more: str) -> list[tuple[str, list[Row]]]:
    """Group rows by model, task and way of evaluating; return the heading and the rows of each group.

    Args:
        more: columns by which rows are grouped in addition.
    """
    return [
        (labels.task_label(members[0], with_rule=exhibits.has_several_rules(rows, members[0])), members)
        for _, members in exhibits.grouped(rows, *TASK, *more)
    ]


def groups_first(names: Iterable[str]) -> list[str]:
    """Return the distinct names, groups first, then English, then the other languages, sorted."""
    order = [*GROUP_LABELS, "en"]
    return sorted(set(names), key=lambda name: (order.index(name) if name in order else len(order), name))


def method_legend(rows: Sequence[Row], styles: SeriesStyles, *, line: bool = True) -> tuple[exhibits.LegendEntry, ...]:
    """Return one entry per method, with the facet `key` of its marks; none for methods that have their names in the
    figure."""
    methods = exhibits.grouped(rows, *METHOD)
    if len(methods) > MAX_IN_LEGEND:
        return ()
    return tuple(
        exhibits.LegendEntry.of_series(
            styles[method].name,
            styles[method],
            dashed=members[0]["propagation"] == "dense" and line,
            line=line,
            facets={**labels.facets_of(members[0], only=("score",)), "key": method_key(styles, method)},
        )
        for method, members in methods
    )


def method_key(styles: SeriesStyles, method: tuple[object, ...]) -> str:
    """Return the facet `key` of a method's legend entry and marks."""
    return str(list(styles).index(method))


def scale_limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Return limits of an axis of differences, which include 0 and the intervals of all methods but random pruning.

    If random pruning is the only method, its intervals count.
    """
    compared = [row for row in rows if row["score"] != "random"] or list(rows)
    ends = [row[name] for row in compared for name in ("difference", "ci_low", "ci_high") if row[name] is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.06 * max(high - low, 0.01)
    return low - margin, high + margin


def change_legend(scale: exhibits.Scale) -> exhibits.LegendEntry:
    """Return the entry that explains the colours of changes of accuracy, which are symmetric around 0."""
    low, high = labels.number(scale.low, signed=True), labels.number(scale.high, signed=True)
    return exhibits.LegendEntry(label=f"less accurate {low}|{high} more accurate than dense", scale=scale)


def difference_label(row: Row) -> str:
    """Return the label of an axis of differences."""
    metric = labels.METRIC_LABELS[row["metric"]]
    return f"{metric} / dense" if row["scale"] == LOG_RATIO else f"{metric} − dense"


def format_ratios(axes: Axes, row: Row, side: str = "y") -> None:
    """Show round ratios at the ticks of an axis if it has logarithms; its limits are set."""
    if row["scale"] != LOG_RATIO:
        return
    axis, ends = (axes.yaxis, axes.get_ylim()) if side == "y" else (axes.xaxis, axes.get_xlim())
    shown = round_ratios(*(math.exp(min(end, MAX_LOG_RATIO)) for end in ends))
    axis.set_major_locator(FixedLocator([math.log(ratio) for ratio in shown]))
    axis.set_major_formatter(FixedFormatter([f"{ratio:,.6g}" for ratio in shown]))


def round_ratios(low: float, high: float) -> list[float]:
    """Return round ratios from the lower to the upper limit of a logarithmic axis."""
    steps = (1, 2, 5) if high < 200 * low else (1,)
    if high > 8 * low:
        ratios = [digit * 10.0**power for power in range(-6, 10) for digit in steps]
    else:
        ratios = list(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))
    return [float(ratio) for ratio in ratios if ratio > 0 and low <= ratio <= high]


def difference_curves(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw every model, task and metric: lines over sparsity, or dots with names. Each panel has a scale of its own.

    Args:
        rows: result of `difference_by_sparsity.sql`.
    """
    for task, members in by_task(rows, "metric"):
        styles = method_styles(members)
        by_language = dict(exhibits.grouped(members, "language"))
        languages = groups_first(row["language"] for row in members)
        order = {_point(row): row["difference"] for name in reversed(languages) for row in by_language[name,]}
        draw = _dots_panel if MAX_IN_LEGEND < len(order) <= _POINTS and len(styles) > MAX_IN_LEGEND else _line_panel
        ordered = sorted(members, key=lambda row: order[_point(row)])
        panels = [
            draw(language, [row for row in ordered if row["language"] == language], members=members, styles=styles)
            for language in languages
        ]
        named = method_legend(members, styles)
        legend = (exhibits.LegendEntry("dense model", INK, facets={}), *named) if named else ()
        yield exhibits.Group(
            title=f"{task}: {labels.METRIC_LABELS[members[0]['metric']]}",
            panels=tuple(panels),
            rows=members,
            legend=legend,
        )


def _point(row: Row) -> tuple[object, ...]:
    return (*(row[column] for column in METHOD), row["sparsity"])


def _about(language: str, rows: Sequence[Row]) -> str:
    metric, where = labels.METRIC_LABELS[rows[0]["metric"]], GROUP_LABELS.get(language, f"in {language}")
    n_methods = len(exhibits.grouped(rows, *METHOD))
    label = f"Difference of {metric} from dense {where} against sparsity: {n_methods} method"
    return f"{label}{'' if n_methods == 1 else 's'}, dense {labels.number(rows[0]['dense_value'])}"


def _dots_panel(language: str, rows: Sequence[Row], *, members: Sequence[Row], styles: SeriesStyles) -> exhibits.Panel:
    """Return a panel with the methods in order of their differences in the first panel."""
    sparsities = {row["sparsity"] for row in members if row["sparsity"]}

    def name(row: Row) -> str:
        at = f", at {row['sparsity']:g}" if len(sparsities) > 1 and row["sparsity"] else ""
        return styles[tuple(row[column] for column in METHOD)].name + at

    dots = Dots(
        name,
        (_CHANGE,),
        title=_title(rows[0]),
        about=_about(language, rows),
        xlabel=difference_label(rows[0]) + (f", sparsity {min(sparsities):g}" if len(sparsities) == 1 else ""),
        style=lambda row: styles[tuple(row[column] for column in METHOD)],
        look=lambda row: Look(
            alpha=1.0 if row["n_significant"] == row["n_variants"] else _PALE,
            gid=labels.to_id(labels.facets_of(row, only=("score", "pair"))),
        ),
        finish=lambda axes: format_ratios(axes, rows[0], "x"),
    )
    return dots.panel(rows)


def _line_panel(language: str, rows: Sequence[Row], *, members: Sequence[Row], styles: SeriesStyles) -> exhibits.Panel:
    largest = max(0.1, *(row["sparsity"] for row in members))
    longest = max(len(style.name) for style in styles.values()) if len(styles) > MAX_IN_LEGEND else 0
    draw = partial(_draw_lines, rows=rows, largest=largest, styles=styles)
    size = exhibits.Size(3.3 + 0.055 * longest, 3.6 if longest else 2.5, left=0.68, right=0.12 + 0.055 * longest)
    return exhibits.Panel(label=_about(language, rows), size=size, draw=draw)


def _draw_lines(axes: Axes, *, rows: Sequence[Row], largest: float, styles: SeriesStyles) -> None:
    first = rows[0]
    start(axes, _title(first), size=8.5)
    axes.axhline(0.0, color=INK, linewidth=1.1, zorder=1)
    shown = [row for row in rows if row["demonstration_label"] is None]
    axes.set_ylim(*scale_limits(shown or rows))
    axes.set_xlim(-0.02 * largest, largest * 1.04)
    axes.set_xlabel("sparsity")
    axes.set_ylabel(difference_label(first))
    format_ratios(axes, first)
    ends = []
    for (*method, pair), points in exhibits.grouped(
        sorted(rows, key=lambda row: row["sparsity"]), *METHOD, "demonstration_label"
    ):
        style = styles[tuple(method)]
        _draw_line(axes, points, style, key=method_key(styles, tuple(method)))
        if pair is None:
            ends.append((points[-1]["sparsity"], points[-1]["difference"], style, style.name))
    if len(styles) > MAX_IN_LEGEND:
        list(name_ends(axes, ends))


def _title(row: Row) -> str:
    """Return the language, the dense model's value, and the chance level or a limit that the value has reached."""
    title = f"{GROUP_LABELS.get(row['language'], row['language'])} · dense {labels.number(row['dense_value'])}"
    if row["dense_limit"] == "floor":
        return f"{title}, not above chance {labels.number(row['chance'])}"
    if row["chance"] is not None:
        title += f", chance {labels.number(row['chance'])}"
    return f"{title}, ceiling" if row["dense_limit"] == "ceiling" else title


def _draw_line(axes: Axes, points: Sequence[Row], style: SeriesStyle, *, key: str) -> None:
    """Draw a line from the dense model, at 0, through the points of a method, with the intervals of single variants.

    The mark of a point is pale unless all of its variants differ significantly from dense.

    Args:
        key: index of the method's legend entry, which is hidden when its last line is hidden.
    """
    first, last = points[0], points[-1]
    gid = labels.to_id({**labels.facets_of(first, only=("score", "pair")), "key": key})
    _draw_intervals(axes, points, style, gid=gid)
    sparsities = [0.0, *(row["sparsity"] for row in points)]
    differences = [0.0, *(row["difference"] for row in points)]
    dash = "--" if first["propagation"] == "dense" else "-"
    axes.plot(sparsities, differences, color=style.colour, linestyle=dash, linewidth=1.5, zorder=3, gid=gid)
    for is_significant, alpha in ((True, 1.0), (False, _PALE)):
        marked = [n for n, row in enumerate(points, 1) if (row["n_significant"] == row["n_variants"]) is is_significant]
        if marked:
            look: dict[str, Any] = {"linestyle": "", "markersize": 4.5, "markevery": marked, "zorder": 3, "gid": gid}
            axes.plot(sparsities, differences, **look, **style.options(alpha))
    if first["demonstration_label"] is not None:
        at = (last["sparsity"], last["difference"])
        axes.text(*at, first["demonstration_label"], fontsize=6.5, color=style.colour, ha="right", va="bottom", gid=gid)


def _draw_intervals(axes: Axes, points: Sequence[Row], style: SeriesStyle, *, gid: str) -> None:
    bounded = [row for row in points if row["ci_low"] is not None and row["ci_high"] is not None]
    sparsities = [row["sparsity"] for row in bounded]
    lows, highs = ([row[end] for row in bounded] for end in ("ci_low", "ci_high"))
    if len(sparsities) > 1:
        corners = [*zip(sparsities, lows, strict=True), *zip(sparsities[::-1], highs[::-1], strict=True)]
        axes.add_artist(Polygon(corners, color=style.colour, alpha=0.08, linewidth=0, zorder=2, gid=gid))
    elif sparsities:
        axes.vlines(sparsities, lows, highs, color=style.colour, linewidth=1.0, alpha=0.6, zorder=2, gid=gid)


def seed_panels(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw two panels per language or group of languages: differences with intervals, and standard deviations.

    Args:
        rows: result of `seed_components.sql`.
    """
    for title, members in by_task(rows):
        parts = [cells for _, cells in exhibits.grouped(members, "group_kind", "group_name")]
        shown, note = exhibits.some(parts, MAX_GROUPS, "languages")
        panels = [panel for cells in shown for panel in _seed_panels(cells)]
        yield exhibits.Group(title + note, panels=tuple(panels), rows=members, legend=legend_of(_DEVIATIONS))


def _seed_panels(rows: Sequence[Row]) -> tuple[exhibits.Panel, exhibits.Panel]:
    shown, note = exhibits.some(rows, MAX_METHODS, "methods")
    where = (rows[0]["group_name"] or "mean outside English") + note
    about = f"Difference to dense for other seeds and items, {where}"
    return (
        Dots(_name, (_CHANGE,), title=f"{where}: difference to dense", about=about).panel(shown),
        Dots(
            _name,
            _DEVIATIONS,
            title=f"{where}: standard deviation",
            about=f"Standard deviations due to the seed and to the items, {where}",
            is_signed=False,
        ).panel(shown),
    )


def _name(row: Row) -> str:
    return f"{row['method']} {row['sparsity']:g} ({row['n_seeds']} seeds)"
