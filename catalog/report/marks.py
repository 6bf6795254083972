"""Marks that several figures share: titles, named rows, intervals, and the cells of heat maps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict, Unpack

from matplotlib.axes import Axes

from catalog.report.exhibits import Grid, Scale, english_first
from catalog.report.labels import Facets, number
from catalog.report.svg import INK
from catalog.results import Row

Ends = tuple[float | None, float | None]
"""Lower and upper end of an interval, if it is known."""
Names = tuple[str, Mapping[Any, str] | Sequence[Any]]
"""A column, and its values in order, with their names if they have other ones."""


def start(axes: Axes, title: str, *, grid: Literal["x", "y", "both"] = "y", size: float = 9) -> None:
    """Set the title, with letters of a size, and the direction of the grid lines."""
    axes.set_title(title, color=INK, weight="bold", fontsize=size)
    axes.grid(visible=True, axis=grid)


def start_rows(axes: Axes, title: str, names: Sequence[str], *, edge: float = 0.5) -> None:
    """Start a panel with one name per row, the first one on top, and a space of `edge` rows at both ends."""
    start(axes, title, grid="x")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 1 + edge, -edge)


def interval_row(
    axes: Axes, y: float, value: float | None, ends: Ends, *, colour: str, width: float = 1.4, **look: Any
) -> None:
    """Draw a value and its interval from left to right; what is unknown is left out.

    Args:
        look: matplotlib's arguments for the point.
    """
    low, high = ends
    if low is not None and high is not None:
        axes.hlines(y, low, high, color=colour, linewidth=width)
    if value is not None:
        axes.plot([value], [y], **{"marker": "o", "linestyle": "", "color": colour, **look})


def interval_line(
    axes: Axes, x: float, value: float | None, ends: Ends, *, colour: str, width: float = 1.6, **look: Any
) -> None:
    """Draw a value and its interval from bottom to top; see `interval_row`."""
    low, high = ends
    if low is not None and high is not None:
        axes.vlines(x, low, high, color=colour, linewidth=width, zorder=look.get("zorder", 2))
    if value is not None:
        axes.plot([x], [value], **{"marker": "o", "color": colour, **look})


class GridTexts(TypedDict):
    """Fields of a heat map other than its cells."""

    title: str
    label: str
    scale: Scale
    row_name: NotRequired[str]
    column_name: NotRequired[str]
    facets: NotRequired[Facets]
    row_facets: NotRequired[tuple[Facets, ...]]


def heat(
    rows: Sequence[Row],
    column: str,
    *,
    down: Names,
    across: Names,
    text: Callable[[Row], str] | None = None,
    **texts: Unpack[GridTexts],
) -> Grid:
    """Return a heat map of one column with a cell for each row that has a value and is named.

    Args:
        text: text of the cell of a row; left out, the value with two decimals.
    """
    (down_column, down_names), (across_column, across_names) = down, across
    downs, acrosses = ({key: index for index, key in enumerate(names)} for names in (down_names, across_names))
    cells = {
        (downs[row[down_column]], acrosses[row[across_column]]): row
        for row in rows
        if row[column] is not None and row[down_column] in downs and row[across_column] in acrosses
    }
    return Grid(
        rows=_texts(down_names),
        columns=_texts(across_names),
        values={place: row[column] for place, row in cells.items()},
        texts={place: text(row) if text else number(row[column], digits=2) for place, row in cells.items()},
        **texts,
    )


def _texts(names: Mapping[Any, str] | Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(str, names.values() if isinstance(names, Mapping) else names))


def half_matrix(
    rows: Sequence[Row],
    column: str,
    *,
    other: str,
    text: Callable[[Row], str] | None = None,
    **texts: Unpack[GridTexts],
) -> Grid:
    """Return a heat map of pairs of languages, the columns `language` and `other`, with one cell for each pair."""
    languages = english_first(language for row in rows for language in (row["language"], row[other]))
    pairs = [sorted((row["language"], row[other]), key=languages.index) for row in rows]
    ordered = [{**row, "language": pair[1], other: pair[0]} for row, pair in zip(rows, pairs, strict=True)]
    down, across = ("language", languages[1:]), (other, languages[:-1])
    return heat(ordered, column, down=down, across=across, text=text, **texts)
