"""Forest plots: paired differences to dense with their intervals, languages in rows, one panel per sparsity."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from catalog.report.claims import best_of, change, gain_of, p_text
from catalog.report.exhibits import Group, LegendEntry, Panel, Size, evenly_spaced, grouped, omission_note
from catalog.report.labels import METRIC_LABELS, SeriesStyle, facets_of, to_id
from catalog.report.panels import differences
from catalog.report.svg import GRID, INK, QUIET, start
from catalog.results import Row

MAX_PANELS, MAX_VARIANTS = 6, 18
"""Maximum number of sparsities and of variants in a panel, chosen at even distances."""
ALPHA = 0.05
_STEP, _GAP = 0.1, 0.12
"""Height of a variant and of the space between two languages, in inches."""
_LETTERS = 6.8
"""Size of the letters of the names of demonstrations, in points."""
_MARGIN_COLOUR = "#cfe8dd"


def forest_plots(rows: Sequence[Row]) -> Iterator[Group]:
    """Draw the forest plots of every model, task and metric.

    Args:
        rows: result of `forest.sql`.
    """
    for task, members in differences.by_task(rows, "metric"):
        styles = differences.method_styles(members)
        by_sparsity = [points for _, points in grouped(members, "sparsity")]
        drawn = [_evenly_spaced_variants(points) for points in evenly_spaced(by_sparsity, MAX_PANELS)]
        title = f"{task}: {METRIC_LABELS[members[0]['metric']]}"
        title += omission_note(len(drawn), len(by_sparsity), "sparsities")
        legend = [
            LegendEntry(label="no difference", colour=INK),
            *differences.method_legend(members, styles, line=False),
        ]
        if any(row["margin"] is not None for row in members):
            legend.append(LegendEntry(label="within the margin of a question", colour=_MARGIN_COLOUR, marker="bar"))
        yield Group(
            title=title,
            panels=tuple(_forest(points, n_all=n_all, styles=styles) for points, n_all in drawn),
            rows=members,
            legend=tuple(legend),
            facets=facets_of(members[0], only=("model", "task")),
        )


def _evenly_spaced_variants(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """Return the rows of at most `MAX_VARIANTS` variants, and the number of all variants."""
    variants = list(dict.fromkeys(row["variant_id"] for row in rows))
    kept = set(evenly_spaced(variants, MAX_VARIANTS))
    return [row for row in rows if row["variant_id"] in kept], len(variants)


def _name(row: Row) -> str:
    return str(row["group_name"] if row["group_kind"] == "language" else row["group_kind"])


def _forest(rows: Sequence[Row], *, n_all: int, styles: differences.SeriesStyles) -> Panel:
    names = differences.groups_first(_name(row) for row in rows)
    variants = [variant for (variant,), _ in grouped(rows, "variant_id")]
    height = len(names) * (len(variants) * _STEP + _GAP)
    title = f"sparsity {rows[0]['sparsity']:.3g}" + omission_note(len(variants), n_all, "variants")
    label = (
        f"Differences of {METRIC_LABELS[rows[0]['metric']]} from dense at {title}, {len(variants)} variants in "
        f"{len(names)} rows; {_best_text(rows)}"
    )
    width = 0.25 + 0.0085 * _LETTERS * max(len(_variant_name(row)) for row in rows)
    size = Size(3.9 + width, height + 0.79, left=1.05, right=width, top=0.34, bottom=0.45)
    return Panel(label=label, size=size, draw=partial(_draw, rows=rows, names=names, title=title, styles=styles))


def _best_text(rows: Sequence[Row]) -> str:
    """Return the largest gain with its p-value as text, or that there is none and the smallest loss."""
    best = best_of(rows)
    group = differences.GROUP_LABELS.get(_name(best), _name(best))
    named = f"{change(best['difference'], best['scale'])}, {best['label']}, {group}"
    if gain_of(best) > 0:
        return f"largest gain: {named}, {p_text(best['p_corrected'], 'corrected')}"
    return f"no gain; smallest loss: {named}" if gain_of(best) < 0 else "no gain"


def _draw(
    axes: Axes, *, rows: Sequence[Row], names: Sequence[str], title: str, styles: differences.SeriesStyles
) -> None:
    variants = grouped(rows, "variant_id")
    block = len(variants) * _STEP + _GAP
    tops = {name: index * block + _GAP / 2 for index, name in enumerate(names)}
    start(axes, title, grid="x")
    axes.set_ylim(len(names) * block, 0)
    axes.set_xlim(*differences.scale_limits(rows))
    axes.set_xlabel(differences.difference_label(rows[0]))
    differences.format_ratios(rows[0], axes, which="x")
    axes.set_yticks(
        [top + block / 2 - _GAP / 2 for top in tops.values()], [differences.GROUP_LABELS.get(n, n) for n in names]
    )
    _draw_margins(axes, rows, tops=tops, block=block)
    axes.axvline(0.0, color=INK, linewidth=1.0, zorder=1)
    for name in names[1:]:
        axes.axhline(tops[name] - _GAP / 2, color=GRID, linewidth=0.7, zorder=0)
    for index, (_, points) in enumerate(variants):
        method = tuple(points[0][column] for column in differences.METHOD)
        heights = {name: top + (index + 0.5) * _STEP for name, top in tops.items()}
        _draw_variant(axes, points, styles[method], heights=heights, key=differences.method_key(styles, method))


def _draw_margins(axes: Axes, rows: Sequence[Row], *, tops: Mapping[str, float], block: float) -> None:
    margins = {_name(row): row["margin"] for row in rows if row["margin"] is not None}
    for name, margin in margins.items():
        top = tops[name] - _GAP / 2
        axes.fill_between([-margin, margin], top, top + block, color=_MARGIN_COLOUR, linewidth=0, zorder=0)


def _draw_variant(
    axes: Axes, points: Sequence[Row], style: SeriesStyle, *, heights: Mapping[str, float], key: str
) -> None:
    """Draw the differences of a variant, those that are significant after correction opaque, others pale.

    A value outside the axis is drawn as a triangle at its end.
    """
    first = points[0]
    gid = to_id({**facets_of(first, only=("score", "pair")), "key": key})
    for is_significant in (True, False):
        drawn = [
            row for row in points if (row["p_corrected"] is not None and row["p_corrected"] < ALPHA) is is_significant
        ]
        if drawn:
            _draw_marks(axes, drawn, style, heights=heights, alpha=1.0 if is_significant else 0.42, gid=gid)
    if name := _variant_name(first):
        at = (1.02, min(heights.values()))
        axes.text(*at, name, fontsize=_LETTERS, color=QUIET, va="center", transform=axes.get_yaxis_transform(), gid=gid)


def _variant_name(row: Row) -> str:
    parts = (row["demonstration_label"], f"seed {row['seed']}" if row["seed"] else None)
    return " ".join(str(part) for part in parts if part)


def _draw_marks(
    axes: Axes, rows: Sequence[Row], style: SeriesStyle, *, heights: Mapping[str, float], alpha: float, gid: str
) -> None:
    low, high = axes.get_xlim()
    with_interval = [row for row in rows if row["ci_low"] is not None and row["ci_high"] is not None]
    if with_interval:
        lows, highs = ([row[end] for row in with_interval] for end in ("ci_low", "ci_high"))
        at = [heights[_name(row)] for row in with_interval]
        axes.hlines(at, lows, highs, color=style.colour, linewidth=1.0, alpha=alpha, zorder=2, gid=gid)
    values = np.array([row["difference"] for row in rows])
    places = np.array([heights[_name(row)] for row in rows])
    for mask, marker in ((values < low, "<"), (values > high, ">"), ((low <= values) & (values <= high), style.marker)):
        if mask.any():
            shape = SeriesStyle(style.colour, marker, is_hollow=style.is_hollow)
            axes.plot(
                values[mask].clip(low, high),
                places[mask],
                linestyle="",
                **shape.marker_options,
                markersize=4,
                alpha=alpha,
                zorder=3,
                clip_on=marker == style.marker,
                gid=gid,
            )
