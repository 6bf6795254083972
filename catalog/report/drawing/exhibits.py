"""Exhibits of the report (a heading, an explanation, a query and a way to draw its rows), and grouping of rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from matplotlib.axes import Axes

from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import Facets
from catalog.report.style import SeriesStyle
from catalog.results import Row, Value

Item = TypeVar("Item")


@dataclass(frozen=True)
class Size:
    """Size of a panel with its margins, in inches (96 CSS pixels each)."""

    width: float
    height: float
    left: float = 0.5
    right: float = 0.12
    top: float = 0.34
    bottom: float = 0.45


@dataclass(frozen=True)
class Panel:
    """One pair of axes, drawn on demand: for the page, or on a sheet of a publication."""

    label: str
    """Text for screen readers."""
    size: Size
    draw: Callable[[Axes], None]
    facets: Facets = field(default_factory=dict)


@dataclass(frozen=True)
class LegendEntry:
    """One entry of a legend: a line with a marker, a swatch or a scale."""

    label: str
    colour: str = ""
    dashed: bool = False
    marker: str = ""
    """Matplotlib's marker, `bar` for a swatch, or `dot`; empty for a plain line."""
    is_hollow: bool = False
    line: bool = True
    """Whether the marker is on a line."""
    scale: Scale | None = None
    """Colours from the low to the high end; the label is then `low|high`."""
    facets: Facets = field(default_factory=dict)

    @classmethod
    def of_series(
        cls, label: str, style: SeriesStyle, *, dashed: bool = False, line: bool = True, facets: Facets | None = None
    ) -> "LegendEntry":
        """Entry of a method, in its colour and with its marker."""
        return cls(label, style.colour, dashed, style.marker, style.is_hollow, line, facets=facets or {})


@dataclass(frozen=True)
class Group:
    """Panels with a common legend; each group has a heading if an exhibit has several."""

    title: str
    panels: tuple[Panel | Grid, ...]
    rows: Sequence[Row]
    """Rows of the exhibit's query that are drawn."""
    legend: tuple[LegendEntry, ...] = ()
    facets: Facets = field(default_factory=dict)


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of the report."""

    anchor: str
    """Its id in the page, and the name of its files."""
    title: str
    reading: str
    """Explanation of how to read it."""
    query: str
    """Name of its query, a file in `catalog/sql/<folder>/`."""
    empty: str
    """Text that replaces it without data, with the part of a recipe that would fill it."""
    draw: Callable[[Sequence[Row]], tuple[Group, ...]] | None = None
    """Draws rows as groups of panels; None for a table."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """For a table: column -> heading, in order; other columns are in its data only."""
    folder: str = "report"
    """`report`, or `queries` for a query that the command line has too."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Values of the query's parameters."""
    is_optional: bool = False
    """Whether it is omitted without data, because most recipes do not request its analysis."""


def grouped(rows: Iterable[Row], *columns: str) -> list[tuple[tuple[Value, ...], list[Row]]]:
    """Group rows by the values of some columns; groups and rows keep the order in which they first occur."""
    groups: dict[tuple[Value, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return list(groups.items())


def english_first(languages: Iterable[str]) -> list[str]:
    """Return the distinct languages, English first and the others sorted."""
    return sorted(set(languages), key=lambda language: (language != "en", language))


def distinct(rows: Iterable[Row], column: str) -> list[Value]:
    """Return the distinct values of a column, in the order in which they first occur."""
    return list(dict.fromkeys(row[column] for row in rows))


def has_rules(rows: Iterable[Row], row: Row) -> bool:
    """Whether rows of the same task have several scoring rules, so that a heading has to include the rule."""
    return len({other["scoring_rule"] for other in rows if other["task"] == row["task"]}) > 1


def spread(values: Sequence[Item], most: int) -> list[Item]:
    """Return at most N of the values, evenly spread over their order, including the first and the last one."""
    n = len(values)
    if n <= most:
        return list(values)
    return [values[round(index * (n - 1) / (most - 1))] for index in range(most)]


def left_out(n_shown: int, n_all: int, things: str) -> str:
    """Return the part of a heading that says how much is drawn; empty if everything is."""
    return "" if n_shown == n_all else f", {n_shown} of {n_all} {things} drawn, all of them in the data"
