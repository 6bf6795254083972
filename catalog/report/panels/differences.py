"""Paired differences to dense: curves over sparsity, and variation over seeds."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator

from catalog.report import exhibits, labels
from catalog.report.svg import INK, QUIET, interval_row, start, start_rows
from catalog.results import Row
from mlprune.vocabulary import LOG_RATIO

TASK = ("base_model", "base_model_id", "task", "split", "scoring_rule", "example_limit")
"""Columns whose values are a model, a task and a way of evaluating it."""
METHOD = ("score", "set_kind", "propagation", "structure", "settings")
"""Columns whose values are a method."""
GROUP_LABELS: Mapping[str, str] = {"outside_english": "outside English"}
"""Group of languages -> label."""
SeriesStyles = Mapping[tuple[Any, ...], labels.SeriesStyle]
"""Method (the values of `METHOD`) -> style."""
MAX_LOG_RATIO = 20.0
"""Largest logarithm of a ratio at a tick."""
_LINE = (*METHOD, "demonstration_label")
MAX_METHODS, MAX_GROUPS = 20, 4
"""Maximum number of rows of a panel, and of languages or groups of languages of a task; at even distances."""


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


def method_styles(rows: Sequence[Row]) -> SeriesStyles:
    """Return the style of each method, by score and demonstrations; methods with settings get further styles.

    No two methods have the same mark. Of methods that differ only in their propagation, the one with `dense` changes.
    """
    with_settings = [method for method, _ in exhibits.grouped((row for row in rows if row["settings"]), *METHOD)]
    plain = {method: labels.series_style(*method[:2]) for method, _ in exhibits.grouped(rows, *METHOD)}
    wanted = plain | {
        method: labels.series_style(*method[:2], further=index) for index, method in enumerate(with_settings)
    }
    dense_last = sorted(wanted, key=lambda method: bool(method[METHOD.index("propagation")] == "dense"))
    styles = labels.distinct_styles({method: wanted[method] for method in dense_last})
    return {method: styles[method] for method in wanted}


def method_legend(rows: Sequence[Row], styles: SeriesStyles, *, line: bool = True) -> tuple[exhibits.LegendEntry, ...]:
    """Return one entry per method, with the facet `key` of its marks."""
    return tuple(
        exhibits.LegendEntry.of_series(
            labels.method_label(members[0]),
            styles[method],
            dashed=members[0]["propagation"] == "dense" and line,
            line=line,
            facets={**labels.facets_of(members[0], only=("score",)), "key": method_key(styles, method)},
        )
        for method, members in exhibits.grouped(rows, *METHOD)
    )


def method_key(styles: SeriesStyles, method: tuple[Any, ...]) -> str:
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


def format_ratios(row: Row, axes: Axes) -> None:
    """Show round ratios at the ticks of the y axis if it has logarithms; its limits are set."""
    if row["scale"] != LOG_RATIO:
        return
    low, high = (math.exp(min(end, MAX_LOG_RATIO)) for end in axes.get_ylim())
    if high > 8 * low:
        ratios = [digit * 10.0**power for power in range(-6, 10) for digit in (1, 2, 5)]
    else:
        ratios = list(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))
    shown = [ratio for ratio in ratios if ratio > 0 and low <= ratio <= high]
    axes.yaxis.set_ticks([math.log(ratio) for ratio in shown], [f"{ratio:.3g}" for ratio in shown])


def difference_curves(rows: Sequence[Row]) -> Iterator[exhibits.Group]:
    """Draw the curves of every model, task and metric. Each panel has a scale of its own, around 0.

    Args:
        rows: result of `difference_by_sparsity.sql`.
    """
    for task, members in by_task(rows, "metric"):
        styles = method_styles(members)
        largest = max(0.1, *(row["sparsity"] for row in members))
        by_language = dict(exhibits.grouped(members, "language"))
        panels = tuple(
            _language_panel(language, by_language[language,], largest=largest, styles=styles)
            for language in groups_first(row["language"] for row in members)
        )
        title = f"{task}: {labels.METRIC_LABELS[members[0]['metric']]}"
        legend = (exhibits.LegendEntry(label="dense model", colour=INK), *method_legend(members, styles))
        facets = labels.facets_of(members[0], only=("model", "task"))
        yield exhibits.Group(title=title, panels=panels, rows=members, legend=legend, facets=facets)


def _language_panel(language: str, rows: Sequence[Row], *, largest: float, styles: SeriesStyles) -> exhibits.Panel:
    metric, where = labels.METRIC_LABELS[rows[0]["metric"]], GROUP_LABELS.get(language, f"in {language}")
    n_methods = len(exhibits.grouped(rows, *METHOD))
    label = f"Difference of {metric} from dense {where} against sparsity: {n_methods} method"
    label += f"{'' if n_methods == 1 else 's'}, dense {labels.number(rows[0]['dense_value'])}"
    draw = partial(_draw_language, rows=rows, largest=largest, styles=styles)
    return exhibits.Panel(label=label, size=exhibits.Size(3.3, 2.5, left=0.68), draw=draw)


def _draw_language(axes: Axes, *, rows: Sequence[Row], largest: float, styles: SeriesStyles) -> None:
    first = rows[0]
    start(axes, _title(first), size=8.5)
    axes.axhline(0.0, color=INK, linewidth=1.1, zorder=1)
    shown = [row for row in rows if row["demonstration_label"] is None]
    axes.set_ylim(*scale_limits(shown or rows))
    axes.set_xlim(-0.02 * largest, largest * 1.04)
    axes.set_xlabel("sparsity")
    axes.set_ylabel(difference_label(first))
    format_ratios(first, axes)
    for line, points in exhibits.grouped(rows, *_LINE):
        method = line[:-1]
        _draw_line(axes, points, styles[method], key=method_key(styles, method))


def _title(row: Row) -> str:
    """Return the language, the dense model's value, and the chance level or a limit that the value has reached."""
    title = f"{GROUP_LABELS.get(row['language'], row['language'])}   dense {labels.number(row['dense_value'])}"
    if row["dense_limit"] == "floor":
        return f"{title}, not above chance {labels.number(row['chance'])}"
    if row["chance"] is not None:
        title += f", chance {labels.number(row['chance'])}"
    return f"{title}, ceiling" if row["dense_limit"] == "ceiling" else title


def _draw_line(axes: Axes, points: Sequence[Row], style: labels.SeriesStyle, *, key: str) -> None:
    """Draw a line from the dense model, at 0, through the points of a method, with the intervals of single variants.

    The mark of a point is pale unless all of its variants differ significantly from dense.

    Args:
        key: index of the method's legend entry, which is hidden when its last line is hidden.
    """
    first = points[0]
    gid = labels.to_id({**labels.facets_of(first, only=("score", "pair")), "key": key})
    _draw_intervals(axes, points, style, gid=gid)
    sparsities = [0.0, *(row["sparsity"] for row in points)]
    differences = [0.0, *(row["difference"] for row in points)]
    line = Line2D(
        sparsities,
        differences,
        color=style.colour,
        linestyle="--" if first["propagation"] == "dense" else "-",
        linewidth=1.5,
        zorder=3,
        gid=gid,
    )
    axes.add_artist(line)
    for is_significant, colour in ((True, style.colour), (False, pale(style.colour))):
        marked = [n for n, row in enumerate(points, 1) if (row["n_significant"] == row["n_variants"]) is is_significant]
        if marked:
            marks = Line2D(
                sparsities, differences, linestyle="", markersize=4.5, markevery=marked, zorder=3, gid=gid,
                **replace(style, colour=colour).marker_options,
            )  # fmt: skip
            axes.add_artist(marks)
    if first["demonstration_label"] is not None:
        last = points[-1]
        at = (last["sparsity"], last["difference"])
        axes.text(*at, first["demonstration_label"], fontsize=6.5, color=style.colour, ha="right", va="bottom", gid=gid)


def pale(colour: str) -> str:
    """Return a colour, mixed with twice as much white, as `#rrggbb`."""
    red, green, blue = ((channel + 2) / 3 for channel in to_rgb(colour))
    return to_hex((red, green, blue))


def _draw_intervals(axes: Axes, points: Sequence[Row], style: labels.SeriesStyle, *, gid: str) -> None:
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
    legend = (
        exhibits.LegendEntry("due to the seed", labels.ORANGE, marker="s", line=False),
        exhibits.LegendEntry("due to the items", labels.BLUE, marker="o", line=False),
    )
    for title, members in by_task(rows):
        parts = [cells for _, cells in exhibits.grouped(members, "group_kind", "group_name")]
        shown = exhibits.evenly_spaced(parts, MAX_GROUPS)
        yield exhibits.Group(
            title=title + exhibits.omission_note(len(shown), len(parts), "languages"),
            panels=tuple(panel for cells in shown for panel in _panels(cells)),
            rows=members,
            legend=legend,
            facets=labels.facets_of(members[0], only=("model", "task")),
        )


def _panels(rows: Sequence[Row]) -> tuple[exhibits.Panel, exhibits.Panel]:
    shown = exhibits.evenly_spaced(rows, MAX_METHODS)
    where = rows[0]["group_name"] or "mean outside English"
    note = exhibits.omission_note(len(shown), len(rows), "methods")
    width = 0.075 * max(len(_name(row)) for row in shown)
    height = 0.8 + 0.24 * len(shown)
    differences = ", ".join(
        f"{_name(row)} {labels.with_interval(row['difference'], row['ci_low'], row['ci_high'], signed=True)}"
        for row in shown
    )
    deviations = ", ".join(
        f"{_name(row)} {labels.number(row['seed_deviation'])} and {labels.number(row['item_deviation'])}"
        for row in shown
    )
    return (
        exhibits.Panel(
            label=f"Difference to dense for other seeds and items, {where}: {differences}{note}",
            size=exhibits.Size(2.7 + width, height, left=0.2 + width),
            draw=partial(_draw_differences, rows=shown, title=f"{where}: difference to dense{note}"),
        ),
        exhibits.Panel(
            label=f"Standard deviations due to the seed and to the items, {where}: {deviations}",
            size=exhibits.Size(2.7, height, left=0.2),
            draw=partial(_draw_deviations, rows=shown),
        ),
    )


def _name(row: Row) -> str:
    return f"{row['method']} {row['sparsity']:g} ({row['n_seeds']} seeds)"


def _draw_differences(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    start_rows(axes, title, [_name(row) for row in rows], edge=0.6)
    axes.axvline(0, color=labels.BLACK, linewidth=0.9)
    for position, row in enumerate(rows):
        ends = row["ci_low"], row["ci_high"]
        interval_row(axes, position, row["difference"], ends, colour=INK, marker="D", markersize=3.5)


def _draw_deviations(axes: Axes, *, rows: Sequence[Row]) -> None:
    start_rows(axes, "standard deviation", [""] * len(rows), edge=0.6)
    for position, row in enumerate(rows):
        for column, marker, colour in (("seed_deviation", "s", labels.ORANGE), ("item_deviation", "o", labels.BLUE)):
            if row[column] is not None:
                axes.hlines(position, 0, row[column], color=QUIET, linewidth=0.6)
                axes.plot([row[column]], [position], marker, color=colour, markersize=4)
    axes.set_yticks([])
    axes.set_xlim(left=0)
