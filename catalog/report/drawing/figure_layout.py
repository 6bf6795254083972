"""A figure for a publication: the panels of a group on one sheet, with their legend below."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size
from catalog.report.drawing.heatmap import Grid, draw_grid
from catalog.report.drawing.svg import INK, axes_on
from catalog.report.style import SeriesStyle

WIDTH = 7.0
"""Of a sheet, in inches: what two columns of a paper have. A panel that is wider widens it."""
MOST_HEIGHT = 10.0
"""Of the panels of a sheet, in inches: what a page has room for. A panel that is higher stands alone."""
LETTERS_IN_AN_INCH = 14
"""Of a panel's title and of a legend."""
_CELL_HEIGHT = 0.23
_LINE, _GAP = 0.19, 0.1
"""Height of a line of the legend, and what lies between panels and legend."""
_LEGEND: dict[str, Any] = {
    "frameon": False,
    "fontsize": 7.5,
    "borderaxespad": 0.2,
    "columnspacing": 1.2,
    "labelspacing": 0.35,
    "handlelength": 3.2,
}
Place = tuple[Panel, float, float]
"""A panel, and where it begins: from the left, and from the top."""


def split_group(group: Group, *, width: float = WIDTH) -> list[Group]:
    """The group, or groups with its panels in their order, each small enough for a page.

    Args:
        width: of a sheet, in inches.
    """
    cut: list[list[Panel | Grid]] = [[]]
    for panel in group.panels:
        tried = [_as_panel(one) for one in (*cut[-1], panel)]
        if cut[-1] and _flow_layout(tried, width=width)[1] > MOST_HEIGHT:
            cut.append([])
        cut[-1].append(panel)
    return [replace(group, panels=tuple(panels)) for panels in cut]


def sheet(group: Group, *, width: float = WIDTH) -> Figure:
    """The figure of a group, as high as it has to be. Call it where the look of figures is set (`svg.drawing`).

    Args:
        width: in inches.
    """
    panels = [_as_panel(panel) for panel in group.panels]
    width = max(width, *(panel.size.width for panel in panels))
    places, height = _flow_layout(panels, width=width)
    scales = [key for key in group.legend if key.scale is not None]
    keys = [key for key in group.legend if key.scale is None]
    n_columns = _legend_columns(keys, width=width)
    legend_height = _LINE * (len(scales) + -(-len(keys) // n_columns)) + (_GAP if group.legend else 0.0)
    figure = Figure(figsize=(width, height + legend_height))
    for panel, left, top in places:
        bottom = height + legend_height - top - panel.size.height
        panel.draw(axes_on(figure, panel.size, left=left, bottom=bottom))
    if keys:
        figure.legend(handles=[_handle(key) for key in keys], loc="lower left", ncols=n_columns, **_LEGEND)
    for place, key in enumerate(scales):
        _draw_scale(figure, key, bottom=place * _LINE + 0.04)
    return figure


def _as_panel(panel: Panel | Grid) -> Panel:
    return grid_panel(panel) if isinstance(panel, Grid) else panel


def grid_panel(grid: Grid) -> Panel:
    """A heat-map as a panel, large enough for its names and numbers."""
    grid = grid.without_details()
    cell_width = 0.1 + 0.055 * max(map(len, grid.texts.values()), default=4)
    if not grid.has_long_columns:
        cell_width = max(cell_width, 0.08 * max(map(len, grid.columns), default=0))
    width = max(1.5, cell_width * len(grid.columns))
    title = textwrap.wrap(grid.title, int(LETTERS_IN_AN_INCH * width))
    left = 0.3 + 0.075 * max(map(len, grid.rows)) + (0.16 if grid.row_name else 0.0)
    top = 0.16 + 0.16 * len(title)
    bottom = 0.4 + 0.07 * max(map(len, grid.columns)) if grid.has_long_columns else 0.42
    height = top + _CELL_HEIGHT * len(grid.rows) + bottom
    size = Size(width=left + width + 0.12, height=height, left=left, top=top, bottom=bottom)
    return Panel(label=grid.label, size=size, draw=partial(_draw_titled, grid=grid, title="\n".join(title)))


def _draw_titled(axes: Axes, *, grid: Grid, title: str) -> None:
    axes.set_title(title, color=INK, fontsize=8.5, weight="bold")
    draw_grid(axes, grid)


def _flow_layout(panels: Sequence[Panel], *, width: float) -> tuple[list[Place], float]:
    """Where each panel begins, side by side as long as there is room, and the height of all shelves."""
    places: list[Place] = []
    left = top = height = 0.0
    for panel in panels:
        if left > 0 and left + panel.size.width > width + 1e-9:
            left, top, height = 0.0, top + height, 0.0
        places.append((panel, left, top))
        left, height = left + panel.size.width, max(height, panel.size.height)
    return places, top + height


def _legend_columns(keys: Sequence[LegendEntry], *, width: float) -> int:
    """As many columns as the longest label leaves room for."""
    longest = max((len(key.label) for key in keys), default=0)
    return max(1, int(width / (0.75 + longest / (LETTERS_IN_AN_INCH + 3))))


def _handle(key: LegendEntry) -> Line2D | Patch:
    """What stands before a label."""
    if key.marker == "bar":
        return Patch(color=key.colour, label=key.label)
    marker = {"dot": ".", "": "None"}.get(key.marker, key.marker)
    style = SeriesStyle(key.colour, marker, is_hollow=key.is_hollow)
    line = Line2D([], [], color=key.colour, **style.marker_options, markersize=5, label=key.label)
    line.set_linestyle("none" if not key.line else "--" if key.dashed else "-")
    return line


def _draw_scale(figure: Figure, key: LegendEntry, *, bottom: float) -> None:
    """The colours of a scale, its ends said on both sides."""
    assert key.scale is not None, "a key with a scale"
    low, _, high = key.label.partition("|")
    left = 0.15 + len(low) / (LETTERS_IN_AN_INCH + 2)
    axes = axes_on(figure, Size(left + 1.4, 0.12, left=left, right=0, top=0, bottom=0), bottom=bottom)
    axes.set_axis_off()
    for step, colour in enumerate(key.scale.colours):
        axes.axvspan(step, step + 1.02, color=colour, linewidth=0)
    axes.set_xlim(0, len(key.scale.colours))
    axes.text(-0.04, 0.45, low, ha="right", va="center", fontsize=7.5, transform=axes.transAxes)
    axes.text(1.04, 0.45, high, ha="left", va="center", fontsize=7.5, transform=axes.transAxes)
