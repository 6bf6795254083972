"""Losses if one unit alone is pruned: heat maps by language and unit, and the most sensitive units of each language."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, distinct, grouped, omission_note
from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import number, task_label, with_interval
from catalog.report.panels.layers import block_by_layer
from catalog.report.style import BLUE, GREY
from catalog.results import Row

_ANALYSIS = ("sensitivity_id", "score", "demonstration_label")
_UNITS = {"block": "block", "layer": "layer kind", "block_layer": "block and layer"}
MAX_LANGUAGES, N_MOST = 12, 5
"""Maximum number of panels of an analysis with one per language, and number of most sensitive units in each."""


def loss_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one figure per analysis: heat maps of all losses, then the most sensitive units of each language.

    Args:
        rows: result of `sensitivity_losses.sql`.
    """
    groups = []
    for _, members in grouped(rows, *_ANALYSIS):
        first, scale = members[0], _scale(members)
        kind, measure = _UNITS[first["unit_kind"]], _measure(first)
        by_language = [cells for _, cells in grouped(members, "language")]
        shown = by_language[:MAX_LANGUAGES]
        maps = [_by_language(members, scale=scale)] if first["unit_kind"] != "block_layer" else []
        maps += [_of_language(cells, scale=scale) for cells in shown if first["unit_kind"] == "block_layer"]
        groups.append(
            Group(
                title=f"{task_label(first)}: {first['score']} at {first['sparsity']:g}, by {kind}"
                + omission_note(len(shown), len(by_language), "languages"),
                panels=(*maps, *(_most_panel(cells) for cells in shown)),
                rows=members,
                legend=(
                    LegendEntry(
                        f"better {number(scale.low, signed=True)}|{number(scale.high, signed=True)} worse: {measure}",
                        scale=scale,
                    ),
                ),
                facets=facets_of(first, only=("model", "task")),
            )
        )
    return tuple(groups)


def _measure(row: Row) -> str:
    return f"ln of the ratio of {row['metric']}" if row["scale"] == "log_ratio" else f"loss of {row['metric']}"


def _scale(rows: Sequence[Row]) -> Scale:
    """Return the range of the losses, symmetric around 0; orange is better than dense and purple worse."""
    largest = max((abs(row["loss"]) for row in rows if row["loss"] is not None), default=0.0) or 0.01
    return Scale(-largest, largest, is_diverging=True)


def _by_language(rows: Sequence[Row], *, scale: Scale) -> Grid:
    """Return a heat map with a row per language and a column per unit; a star is significant over the units."""
    languages, units = distinct(rows, "language"), distinct(rows, "unit")
    cells = {(languages.index(row["language"]), units.index(row["unit"])): row for row in rows}
    known = {place: row for place, row in cells.items() if row["loss"] is not None}
    worst = max(known.values(), key=lambda row: row["loss"], default=rows[0])
    return Grid(
        title=f"{_measure(rows[0])}; * p < 0.05 over the units (max-T)",
        label=f"{_measure(rows[0])} by language and unit: largest in {worst['language']}, unit {worst['unit']}: "
        f"{number(worst['loss'], signed=True)}",
        rows=tuple(map(str, languages)),
        columns=tuple(map(str, units)),
        values={place: row["loss"] for place, row in known.items()},
        texts={place: number(row["loss"], digits=2) + ("*" if is_needed(row) else "") for place, row in known.items()},
        scale=scale,
        row_name="language",
        column_name=_UNITS[rows[0]["unit_kind"]],
    )


def _of_language(rows: Sequence[Row], *, scale: Scale) -> Grid:
    known = [row for row in rows if row["loss"] is not None]
    worst = max(known, key=lambda row: row["loss"])
    label = f"{_measure(worst)} in {worst['language']} by block and layer: largest in block {worst['block']}, "
    return block_by_layer(
        known,
        column="loss",
        title=str(worst["language"]),
        label=f"{label}{worst['layer']}: {number(worst['loss'], signed=True)}",
        scale=scale,
    )


def is_needed(row: Row) -> bool:
    """Whether the loss is above 0 after correction over the units."""
    return row["loss"] is not None and row["loss"] > 0 and row["p_max_t"] is not None and row["p_max_t"] < 0.05


def _most_panel(rows: Sequence[Row]) -> Panel:
    known = [row for row in rows if row["loss"] is not None]
    most = sorted(known, key=lambda row: -row["loss"])[:N_MOST]
    texts = (f"{row['unit']} {with_interval(row['loss'], row['ci_low'], row['ci_high'], signed=True)}" for row in most)
    left = 0.35 + 0.07 * max((len(row["unit"]) for row in most), default=0)
    return Panel(
        label=f"Most sensitive units in {rows[0]['language']}: {', '.join(texts)}",
        size=Size(left + 2.2, 0.72 + 0.24 * len(most), left=left, bottom=0.36),
        draw=partial(_draw_most, rows=most, title=str(rows[0]["language"])),
    )


def _draw_most(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(axis="x")
    axes.axvline(0, color=GREY, linewidth=1.0)
    for place, row in enumerate(rows):
        colour = BLUE if is_needed(row) else GREY
        if row["ci_low"] is not None and row["ci_high"] is not None:
            axes.hlines(place, row["ci_low"], row["ci_high"], color=colour, linewidth=1.4)
        axes.plot([row["loss"]], [place], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(rows)), [str(row["unit"]) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
