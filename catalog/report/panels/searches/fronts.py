"""English against the mean of the other languages for the trials of a search, with their Pareto front."""

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size, grouped
from catalog.report.drawing.svg import INK
from catalog.report.filters import facets_of
from catalog.report.labels import number
from catalog.report.style import BLACK, BLUE, GREY, ORANGE
from catalog.results import Row

_LEGEND = (
    LegendEntry("dense model", BLACK, marker="*", line=False),
    LegendEntry("winner", ORANGE, marker="D", line=False),
    LegendEntry("on the front of dev", BLUE, marker="o", line=True),
    LegendEntry("other trials", GREY, marker="o", line=False),
)


def front_panels(rows: Sequence[Row]) -> tuple[Group, ...]:
    """Draw one panel per search, task and metric: a point per variant, on the items of its highest rung.

    Args:
        rows: result of `search_fronts.sql`.
    """
    return tuple(
        Group(
            title=f"{members[0]['base_model']} · {members[0]['name']}",
            panels=tuple(_panel(cells) for _, cells in grouped(members, "task", "metric")),
            rows=members,
            legend=_LEGEND,
            facets=facets_of(members[0], only=("model",)),
        )
        for _, members in grouped(rows, "search_id")
    )


def _last(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the highest rung, whose values have the same items."""
    highest = max(row["rung"] for row in rows)
    return [row for row in rows if row["rung"] == highest]


def _panel(rows: Sequence[Row]) -> Panel:
    shown = _last(rows)
    n_front = sum(row["is_efficient"] for row in shown)
    dense = "".join(
        f"; dense {number(row['english_value'])} and {number(row['others_value'])}" for row in shown if row["is_dense"]
    )
    label = f"{rows[0]['metric']} in English and in {rows[0]['others']}, {rows[0]['task']}: {n_front} of {len(shown)} "
    return Panel(
        label=f"{label}variants are on the front of dev{dense}",
        size=Size(4.6, 3.6, left=0.7),
        draw=partial(_draw, rows=shown),
    )


def _draw(axes: Axes, *, rows: Sequence[Row]) -> None:
    first = rows[0]
    axes.set_title(f"{first['task']}, {first['split']}", color=INK, weight="bold", fontsize=9)
    axes.grid(visible=True)
    axes.set_xlabel(f"{first['metric']} in English")
    others = str(first["others"])
    axes.set_ylabel(f"mean of {others}" if " " in others else f"{first['metric']} in {others}")
    if first["metric"] == "perplexity":
        axes.invert_xaxis()
        axes.invert_yaxis()
    front = sorted((row for row in rows if row["is_efficient"]), key=_values)
    axes.plot(*zip(*map(_values, front), strict=True), color=BLUE, linewidth=1.0, zorder=2)
    for row in rows:
        colour = BLUE if row["is_efficient"] else GREY
        if not row["is_dense"]:
            axes.plot(*_values(row), "o", color=colour, markersize=4.5, alpha=0.85, zorder=3)
    for row in rows:
        if row["is_winner"]:
            axes.plot(*_values(row), "D", color=ORANGE, markersize=7, zorder=4)
        if row["is_dense"]:
            axes.plot(*_values(row), "*", color=BLACK, markersize=12, zorder=5)


def _values(row: Row) -> tuple[float, float]:
    return row["english_value"], row["others_value"]
