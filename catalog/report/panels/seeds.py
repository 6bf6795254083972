"""Variation over seeds: differences to dense for other seeds and items, and how much of it is due to each."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import (
    Group,
    LegendEntry,
    Panel,
    Size,
    evenly_spaced,
    grouped,
    omission_note,
)
from catalog.report.drawing.svg import INK, QUIET
from catalog.report.filters import facets_of
from catalog.report.labels import number, with_interval
from catalog.report.panels.tasks import by_task
from catalog.report.style import BLACK, BLUE, ORANGE
from catalog.results import Row

MAX_METHODS, MAX_GROUPS = 20, 4
"""Maximum number of rows of a panel, and of languages or groups of languages of a task; at even distances."""


def seed_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw two panels per language or group of languages: differences with intervals, and standard deviations.

    Args:
        rows: result of `seed_components.sql`.
    """
    legend = (
        LegendEntry("due to the seed", ORANGE, marker="s", line=False),
        LegendEntry("due to the items", BLUE, marker="o", line=False),
    )
    groups = []
    for title, members in by_task(rows):
        parts = [cells for _, cells in grouped(members, "group_kind", "group_name")]
        shown = evenly_spaced(parts, MAX_GROUPS)
        groups.append(
            Group(
                title=title + omission_note(len(shown), len(parts), "languages"),
                panels=tuple(panel for cells in shown for panel in _panels(cells)),
                rows=members,
                legend=legend,
                facets=facets_of(members[0], only=("model", "task")),
            )
        )
    return tuple(groups)


def _panels(rows: Sequence[Row]) -> tuple[Panel, Panel]:
    shown = evenly_spaced(rows, MAX_METHODS)
    where = rows[0]["group_name"] or "mean outside English"
    note = omission_note(len(shown), len(rows), "methods")
    width = 0.075 * max(len(_name(row)) for row in shown)
    height = 0.8 + 0.24 * len(shown)
    differences = ", ".join(
        f"{_name(row)} {with_interval(row['difference'], row['ci_low'], row['ci_high'], signed=True)}" for row in shown
    )
    deviations = ", ".join(
        f"{_name(row)} {number(row['seed_deviation'])} and {number(row['item_deviation'])}" for row in shown
    )
    return (
        Panel(
            label=f"Difference to dense for other seeds and items, {where}: {differences}{note}",
            size=Size(2.7 + width, height, left=0.2 + width),
            draw=partial(_draw_differences, rows=shown, title=f"{where}: difference to dense{note}"),
        ),
        Panel(
            label=f"Standard deviations due to the seed and to the items, {where}: {deviations}",
            size=Size(2.7, height, left=0.2),
            draw=partial(_draw_deviations, rows=shown),
        ),
    )


def _name(row: Row) -> str:
    return f"{row['method']} {row['sparsity']:g} ({row['n_seeds']} seeds)"


def _draw_differences(axes: Axes, *, rows: Sequence[Row], title: str) -> None:
    _start(axes, rows, title=title)
    axes.axvline(0, color=BLACK, linewidth=0.9)
    for position, row in enumerate(rows):
        if row["ci_low"] is not None:
            axes.hlines(position, row["ci_low"], row["ci_high"], color=INK, linewidth=1.4)
        axes.plot([row["difference"]], [position], "D", color=INK, markersize=3.5)
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows])


def _draw_deviations(axes: Axes, *, rows: Sequence[Row]) -> None:
    _start(axes, rows, title="standard deviation")
    for position, row in enumerate(rows):
        for column, marker, colour in (("seed_deviation", "s", ORANGE), ("item_deviation", "o", BLUE)):
            if row[column] is not None:
                axes.hlines(position, 0, row[column], color=QUIET, linewidth=0.6)
                axes.plot([row[column]], [position], marker, color=colour, markersize=4)
    axes.set_yticks([])
    axes.set_xlim(left=0)


def _start(axes: Axes, rows: Sequence[Row], *, title: str) -> None:
    axes.set_title(title, color=INK, weight="bold", fontsize=9)
    axes.grid(axis="x")
    axes.set_ylim(len(rows) - 0.4, -0.6)
