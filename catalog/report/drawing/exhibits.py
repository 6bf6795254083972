"""What an exhibit of the report is (a heading, a way to read it, one query, a way to draw it), and rows by groups."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from matplotlib.axes import Axes

from catalog.report.drawing.heatmap import Grid, Scale
from catalog.report.filters import Facets
from catalog.report.labels import Row
from catalog.report.style import SeriesStyle

Item = TypeVar("Item")


@dataclass(frozen=True)
class Size:
    """Of a panel with its margins, in inches (96 CSS pixels each)."""

    width: float
    height: float
    left: float = 0.5
    right: float = 0.12
    top: float = 0.34
    bottom: float = 0.45


@dataclass(frozen=True)
class Panel:
    """One pair of axes, drawn when it is wanted: for the page, or on a sheet of a publication."""

    label: str
    """What a screen reader says."""
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
    """Matplotlib's letter of the marker, `bar` for a swatch, `dot`; empty for a plain line."""
    is_hollow: bool = False
    line: bool = True
    """Whether a line goes through the marker."""
    scale: Scale | None = None
    """Colours from the low to the high end; the label then reads `low|high`."""
    facets: Facets = field(default_factory=dict)

    @classmethod
    def of_series(
        cls, label: str, style: SeriesStyle, *, dashed: bool = False, line: bool = True, facets: Facets | None = None
    ) -> "LegendEntry":
        """Entry of a method, in its colour and with its marker."""
        return cls(label, style.colour, dashed, style.marker, style.is_hollow, line, facets=facets or {})


@dataclass(frozen=True)
class Group:
    """Panels that share a legend, under a heading of their own where an exhibit has several."""

    title: str
    panels: tuple[Panel | Grid, ...]
    rows: Sequence[Row]
    """What is drawn: rows of the exhibit's query."""
    legend: tuple[LegendEntry, ...] = ()
    facets: Facets = field(default_factory=dict)


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of the report."""

    anchor: str
    """Its id in the page, and the name of its files."""
    title: str
    reading: str
    """A sentence or two on how to read it."""
    query: str
    """Name of its query, a file in `catalog/sql/<folder>/`."""
    empty: str
    """What stands in its place without data: which part of a recipe would fill it."""
    draw: Callable[[Sequence[Row]], tuple[Group, ...]] | None = None
    """Rows to groups of panels; None for a table."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: column to heading, in order; the other columns stand in its data only."""
    folder: str = "report"
    """`report`, or `queries` for one that is asked by name on the command line too."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Values of the query's parameters."""
    is_optional: bool = False
    """Whether it is left out without data, being about something that most recipes do not ask."""


def grouped(rows: Iterable[Row], *columns: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    """Rows by the values of some columns, groups and rows in the order they first appear."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return list(groups.items())


def english_first(languages: Iterable[str]) -> list[str]:
    """Languages by name, English before all others, each once."""
    return sorted(set(languages), key=lambda language: (language != "en", language))


def distinct(rows: Iterable[Row], column: str) -> list[Any]:
    """Values of a column, each once, in the order they first appear."""
    return list(dict.fromkeys(row[column] for row in rows))


def has_rules(rows: Iterable[Row], row: Row) -> bool:
    """Whether the task of a row was scored by several rules, so that a heading has to say which."""
    return len({one["scoring_rule"] for one in rows if one["task"] == row["task"]}) > 1


def spread(values: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the values, evenly spread over their order, the first and the last among them."""
    n = len(values)
    if n <= most:
        return list(values)
    return [values[round(place * (n - 1) / (most - 1))] for place in range(most)]


def left_out(n_shown: int, n_all: int, things: str) -> str:
    """What a heading adds where not everything is drawn; empty where it is."""
    return "" if n_shown == n_all else f", {n_shown} of {n_all} {things} drawn, all of them in the data"
