"""Layout of a figure for publications: the panels of a group on one sheet, with their legend below."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TypedDict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from catalog.report.drawing.exhibits import Group, LegendEntry, Panel, Size
from catalog.report.drawing.heatmap import Grid, draw_grid
from catalog.report.drawing.svg import INK, axes_on, draw_panel
from catalog.report.style import SeriesStyle

WIDTH = 7.0
"""Width of a sheet in inches: two columns of a paper. A wider panel makes the sheet wider."""
MAX_HEIGHT = 10.0
"""Maximum height of the panels of a sheet in inches: one page. A higher panel gets a sheet of its own."""
LETTERS_PER_INCH = 14
"""Number of letters per inch in titles of panels and in legends."""
_CELL_HEIGHT = 0.23
_LINE, _GAP = 0.19, 0.1
"""Height of a line of the legend, and height of the space between panels and legend."""


class _LegendOptions(TypedDict):
    frameon: bool
    fontsize: float
    borderaxespad: float
    columnspacing: float
    labelspacing: float
    handlelength: float


_LEGEND: _LegendOptions = {
    "frameon": False,
    "fontsize": 7.5,
    "borderaxespad": 0.2,
    "columnspacing": 1.2,
    "labelspacing": 0.35,
    "handlelength": 3.2,
}
PlacedPanel = tuple[Panel, float, float]
"""A panel with its distance from the left and from the top."""


def split_group(group: Group, *, width: float = WIDTH) -> list[Group]:
    """Split a group that is too high for a page into groups that fit, with the panels in their order.

    Args:
        width: width of a sheet, in inches.
    """
    parts: list[list[Panel | Grid]] = [[]]
    for panel in group.panels:
        candidate = [_as_panel(member) for member in (*parts[-1], panel)]
        if parts[-1] and _flow_layout(candidate, width=width)[1] > MAX_HEIGHT:
            parts.append([])
        parts[-1].append(panel)
    return [replace(group, panels=tuple(panels)) for panels in parts]


def draw_sheet(group: Group, *, width: float = WIDTH) -> Figure:
    """Draw a group as a figure that is as high as its panels. Call this in the context `svg.drawing`.

    Args:
        width: minimum width of the figure, in inches.
    """
    panels = [_as_panel(panel) for panel in group.panels]
    width = max(width, *(panel.size.width for panel in panels))
    placed, height = _flow_layout(panels, width=width)
    scales = [entry for entry in group.legend if entry.scale is not None]
    entries = [entry for entry in group.legend if entry.scale is None]
    n_columns = _legend_columns(entries, width=width)
    legend_height = _LINE * (len(scales) + -(-len(entries) // n_columns)) + (_GAP if group.legend else 0.0)
    figure = Figure(figsize=(width, height + legend_height))
    for panel, left, top in placed:
        bottom = height + legend_height - top - panel.size.height
        draw_panel(figure, panel, left=left, bottom=bottom)
    if entries:
        figure.legend(handles=[_handle(entry) for entry in entries], loc="lower left", ncols=n_columns, **_LEGEND)
    for index, entry in enumerate(scales):
        _draw_scale(figure, entry, bottom=index * _LINE + 0.04)
    return figure


def _as_panel(panel: Panel | Grid) -> Panel:
    return grid_panel(panel) if isinstance(panel, Grid) else panel


def grid_panel(grid: Grid) -> Panel:
    """Return a heat map as a panel that is large enough for its names and numbers."""
    grid = grid.without_details()
    cell_width = 0.1 + 0.055 * max(map(len, grid.texts.values()), default=4)
    if not grid.has_long_columns:
        cell_width = max(cell_width, 0.08 * max(map(len, grid.columns), default=0))
    width = max(1.5, cell_width * len(grid.columns))
    title = textwrap.wrap(grid.title, int(LETTERS_PER_INCH * width))
    left = 0.3 + 0.075 * max(map(len, grid.rows)) + (0.16 if grid.row_name else 0.0)
    top = 0.16 + 0.16 * len(title)
    bottom = 0.4 + 0.07 * max(map(len, grid.columns)) if grid.has_long_columns else 0.42
    height = top + _CELL_HEIGHT * len(grid.rows) + bottom
    size = Size(width=left + width + 0.12, height=height, left=left, top=top, bottom=bottom)
    return Panel(label=grid.label, size=size, draw=partial(_draw_titled, grid=grid, title="\n".join(title)))


def _draw_titled(axes: Axes, *, grid: Grid, title: str) -> None:
    axes.set_title(title, color=INK, fontsize=8.5, weight="bold")
    draw_grid(axes, grid)


def _flow_layout(panels: Sequence[Panel], *, width: float) -> tuple[list[PlacedPanel], float]:
    """Place panels in rows from left to right; return the placed panels and the total height."""
    placed: list[PlacedPanel] = []
    left = top = height = 0.0
    for panel in panels:
        if left > 0 and left + panel.size.width > width + 1e-9:
            left, top, height = 0.0, top + height, 0.0
        placed.append((panel, left, top))
        left, height = left + panel.size.width, max(height, panel.size.height)
    return placed, top + height


def _legend_columns(entries: Sequence[LegendEntry], *, width: float) -> int:
    """Return the number of columns that the legend has room for."""
    longest = max((len(entry.label) for entry in entries), default=0)
    return max(1, int(width / (0.75 + longest / (LETTERS_PER_INCH + 3))))


def _handle(entry: LegendEntry) -> Line2D | Patch:
    """Return the symbol of a legend entry."""
    if entry.marker == "bar":
        return Patch(color=entry.colour, label=entry.label)
    marker = {"dot": ".", "": "None"}.get(entry.marker, entry.marker)
    style = SeriesStyle(entry.colour, marker, is_hollow=entry.is_hollow)
    line = Line2D([], [], color=entry.colour, **style.marker_options, markersize=5, label=entry.label)
    line.set_linestyle("none" if not entry.line else "--" if entry.dashed else "-")
    return line


def _draw_scale(figure: Figure, entry: LegendEntry, *, bottom: float) -> None:
    """Draw the colours of a scale between the labels of its ends."""
    colours = entry.scale.colours if entry.scale else ()
    low, _, high = entry.label.partition("|")
    left = 0.15 + len(low) / (LETTERS_PER_INCH + 2)
    axes = axes_on(figure, Size(left + 1.4, 0.12, left=left, right=0, top=0, bottom=0), bottom=bottom)
    axes.set_axis_off()
    for step, colour in enumerate(colours):
        axes.axvspan(step, step + 1.02, color=colour, linewidth=0)
    axes.set_xlim(0, len(colours))
    axes.text(-0.04, 0.45, low, ha="right", va="center", fontsize=7.5, transform=axes.transAxes)
    axes.text(1.04, 0.45, high, ha="left", va="center", fontsize=7.5, transform=axes.transAxes)
