"""Exhibits of the report (a heading, an explanation, a query and a way to draw its rows), and grouping of rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from matplotlib.axes import Axes

from catalog.report.drawing.examples import ExampleList, SideBySide
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
    """A plot, drawn on demand: for the page, or for a figure file."""

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
    """Whether a line is drawn through the marker."""
    scale: Scale | None = None
    """Scale of colours, if the entry explains one; the label is then `low|high`."""
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
    """Rows of the exhibit's query that the panels draw."""
    legend: tuple[LegendEntry, ...] = ()
    facets: Facets = field(default_factory=dict)
    note: str = ""
    """A sentence below the heading in the page, such as how much could have been found."""
    examples: tuple[ExampleList, ...] = ()
    """Lists of examples as text, after the panels; figure files do not have them."""
    texts: tuple[SideBySide, ...] = ()
    """Tables of generated texts, after the panels; figure files do not have them."""


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of the report."""

    anchor: str
    """Id of the exhibit in the page, and name of its files."""
    title: str
    explanation: str
    """Explanation of how to read it."""
    query: str
    """Name of its query, a file in `catalog/sql/<folder>/`."""
    empty_text: str
    """Text to show without data, with the recipe entry that would create some."""
    draw: Callable[[Sequence[Row]], tuple[Group, ...]] | None = None
    """Draws rows as groups of panels; None for a table."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """For a table: column -> heading, in order. The data below the table has all columns."""
    intervals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For a table: column -> columns with the ends of its interval, which the page shows after the value."""
    folder: str = "report"
    """`report`, or `queries` for a query that also has a name on the command line."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Values of the query's parameters."""
    runs: str = ""
    """Name of a query of the report with one row of parameters per run of `query`; empty for a single run."""
    is_optional: bool = False
    """Whether to omit the exhibit without data, because most recipes do not request its analysis."""


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


def has_several_rules(rows: Iterable[Row], row: Row) -> bool:
    """Whether rows of the same task have several scoring rules, so that a heading has to include the rule."""
    return len({other["scoring_rule"] for other in rows if other["task"] == row["task"]}) > 1


def evenly_spaced(values: Sequence[Item], limit: int) -> list[Item]:
    """Return at most `limit` of the values, at even distances, including the first and the last one."""
    n = len(values)
    if n <= limit:
        return list(values)
    return [values[round(index * (n - 1) / (limit - 1))] for index in range(limit)]


def omission_note(n_shown: int, n_all: int, things: str) -> str:
    """Return a note for a heading if only some of the things are drawn; empty if all are."""
    return "" if n_shown == n_all else f", {n_shown} of {n_all} {things} drawn, all of them in the data"
