"""Export figures for publications: layout on one sheet, as PDF or SVG, with SQL and data."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from catalog.report.exhibits import Grid, Group, LegendEntry, Panel, Size, draw_grid
from catalog.report.figures import FIGURES, Exhibit, run_exhibit
from catalog.report.labels import FILTERS, Chosen, facets_of, matches_filters
from catalog.report.query_results import Source, run_report_query
from catalog.report.styles import INK, SeriesStyle
from catalog.report.svg import axes_on, draw_panel, drawing
from catalog.results import Value
from catalog.store import Catalog
from mlprune.errors import BadInputError, unknown

WIDTH = 7.0
"""Width of a sheet in inches: two columns of a paper. A wider panel makes the sheet wider."""
MAX_HEIGHT = 10.0
"""Maximum height of the panels of a sheet in inches: one page. A higher panel gets a sheet of its own."""
LETTERS_PER_INCH = 14
"""Number of letters per inch in titles of panels and in legends."""
_CELL_HEIGHT = 0.23
_LINE, _GAP = 0.19, 0.1
"""Height of a line of the legend, and height of the space between panels and legend."""
PlacedPanel = tuple[Panel, float, float]
"""A panel with its distance from the left and from the top."""
FORMATS = ("pdf", "svg")
MAX_NAME_LENGTH = 80
"""Maximum length of a file's name, without suffix."""


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


def split_group(group: Group, *, width: float = WIDTH) -> list[Group]:
    """Split a group that is too high for a page into groups that fit, none if it has no panels.

    Args:
        width: width of a sheet, in inches.
    """
    parts: list[list[Panel | Grid]] = [[]]
    for panel in group.panels:
        candidate = [_as_panel(member) for member in (*parts[-1], panel)]
        if parts[-1] and _flow_layout(candidate, width=width)[1] > MAX_HEIGHT:
            parts.append([])
        parts[-1].append(panel)
    return [replace(group, panels=tuple(panels)) for panels in parts if panels]


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
    longest = max((len(entry.label) for entry in entries), default=0)
    n_columns = max(1, int(width / (0.75 + longest / (LETTERS_PER_INCH + 3))))
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


def _handle(entry: LegendEntry) -> Line2D | Patch:
    """Return the symbol of a legend entry."""
    if entry.marker == "bar":
        return Patch(color=entry.colour, label=entry.label)
    style = SeriesStyle(entry.colour, entry.marker or "None", is_hollow=entry.is_hollow)
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


@dataclass(frozen=True)
class FigureSelection:
    """Figures to export, and their format."""

    format: str = "pdf"
    figures: tuple[str, ...] = ()
    """Names of figures, which are anchors in the report; empty for all."""
    chosen: Chosen = field(default_factory=dict)
    """Values of each filter, as in the report; a filter without values matches everything."""
    width: float = WIDTH
    """Width of a sheet, in inches."""


def write_figures(catalog: Catalog, out: Path, selection: FigureSelection | None = None) -> Iterator[Path]:
    """Draw and write figures, and yield the path of each file after it is written. Equal catalogs give equal files.

    Args:
        out: a folder, which is created; files with the same names are replaced.
    Raises:
        BadInputError: a format, a figure or a value of a filter is unknown, or a file cannot be written.
    """
    selection = selection or FigureSelection()
    exhibits = _exhibits(selection)
    _check_chosen(catalog, selection.chosen)
    snapshot = catalog.snapshot_id()
    for exhibit in exhibits:
        sources = [
            replace(source, rows=tuple(row for row in source.rows if matches_filters(facets_of(row), selection.chosen)))
            for source in run_exhibit(catalog, exhibit)
        ]
        drawn = [
            (source, group)
            for source in sources
            for group in (exhibit.draw(source.rows) if exhibit.draw and source.rows else ())
        ]
        names = _file_names(exhibit, [group for _, group in drawn])
        for name, (source, group) in zip(names, drawn, strict=True):
            yield from _write(out / name, group, source=source, snapshot=snapshot, selection=selection)


def _exhibits(selection: FigureSelection) -> list[Exhibit]:
    if selection.format not in FORMATS:
        raise BadInputError("no such figure format", expected=list(FORMATS), got=selection.format)
    figures = {exhibit.anchor: exhibit for exhibit in FIGURES}
    for name in selection.figures:
        _check_name(name, list(figures), what="figure")
    return [figures[name] for name in selection.figures or figures]


def _check_chosen(catalog: Catalog, chosen: Chosen) -> None:
    """Refuse an unknown value of a filter, which would match nothing."""
    rows = run_report_query(catalog, "filters").rows
    for name in FILTERS:
        for value in chosen.get(name, ()):
            _check_name(value, [str(row["value"]) for row in rows if row["filter"] == name], what=name)


def _check_name(name: str, names: Sequence[str], *, what: str) -> None:
    if name not in names:
        raise unknown(what, name, sorted(names), error=BadInputError)


def _file_names(exhibit: Exhibit, groups: Sequence[Group]) -> Iterator[str]:
    """Yield unique names of files: the exhibit's anchor, followed by the group's title if there are several groups."""
    used_names: set[str] = set()
    for group in groups:
        title = re.sub(r"[^\w]+", "-", group.title.lower()).strip("-_") if len(groups) > 1 else ""
        name = f"{exhibit.anchor}-{title}"[:MAX_NAME_LENGTH].strip("-")
        n = 1
        while (unique := name if n == 1 else f"{name}-{n}") in used_names:
            n += 1
        used_names.add(unique)
        yield unique


def _write(path: Path, group: Group, *, source: Source, snapshot: str, selection: FigureSelection) -> Iterator[Path]:
    """Write the figure's SQL and data, then the figure, in parts if it is too high for a page.

    Args:
        path: path of all files, without suffix.
    """
    description = f"{group.title}; snapshot {snapshot} of the catalog; SQL in {path.name}.sql, data in {path.name}.csv"
    parts = split_group(group, width=selection.width)
    target = path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{path}.sql").write_text(_sql(source, group, snapshot=snapshot), "utf-8", newline="\n")
        Path(f"{path}.csv").write_bytes(replace(source, rows=tuple(group.rows)).csv)
        for number, part in enumerate(parts, start=1):
            target = Path(f"{path}{f'-part-{number}' if len(parts) > 1 else ''}.{selection.format}")
            with drawing():
                figure = draw_sheet(part, width=selection.width)
                figure.savefig(target, format=selection.format, metadata=_metadata(selection.format, description))
            yield target
    except OSError as err:
        with suppress(OSError):
            target.unlink(missing_ok=True)
        raise BadInputError("a figure cannot be written", path=str(target), reason=str(err)) from err


def _sql(source: Source, group: Group, *, snapshot: str) -> str:
    """Return the query, followed by comments with its parameters and a description of the rows that are drawn."""
    notes = [f"snapshot {snapshot} of the catalog"]
    notes += [f"${name} = {json.dumps(value)}" for name, value in source.parameters.items()]
    notes += [
        f"rows with {column} = {json.dumps(value, default=str)}" for column, value in _constant_columns(source, group)
    ]
    return source.sql.rstrip("\n") + "\n" + "".join(f"-- {line}\n" for line in notes)


def _constant_columns(source: Source, group: Group) -> list[tuple[str, Value]]:
    """Return the columns, with their values, that are constant in the group but not in the whole result."""
    constant = []
    for column in source.columns:
        values = {row[column] for row in group.rows}
        if len(values) == 1 and len({row[column] for row in source.rows}) > 1:
            constant.append((column, values.pop()))
    return constant


def _metadata(format: str, description: str) -> Mapping[str, str | None]:  # noqa: A002
    """Return metadata without time and program, so that equal figures give equal files."""
    if format == "pdf":
        return {"Subject": description, "CreationDate": None, "Creator": None, "Producer": None}
    return {"Description": description, "Date": None, "Creator": None}
