"""What an exhibit of the report is (a heading, a way to read it, one query, a way to draw it), and rows by groups."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from catalog.report.words import Row

Item = TypeVar("Item")


@dataclass(frozen=True)
class Key:
    """One entry of a legend, drawn by the page: a line with a marker, a swatch or a scale."""

    label: str
    colour: str = ""
    dashed: bool = False
    marker: str = ""
    """Matplotlib's letter of the marker; empty for a plain line."""
    scale: tuple[str, ...] = ()
    """Colours of a scale from its low to its high end; the label then reads `low|high`."""


@dataclass(frozen=True)
class Group:
    """Panels that share a legend, under a heading of their own where an exhibit has several."""

    title: str
    panels: tuple[str, ...]
    """Finished SVG elements."""
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of the report."""

    anchor: str
    """Its id in the page."""
    title: str
    reading: str
    """A sentence or two on how to read it."""
    query: str
    """Name of its query, a file in `catalog/sql/<folder>/`."""
    empty: str
    """What stands in its place without data: which part of a recipe would fill it."""
    draw: Callable[[Sequence[Row], str], tuple[Group, ...]] | None = None
    """Rows and the prefix of ids to groups of panels; None for a table."""
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


def spread(values: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the values, evenly spread over their order, the first and the last among them."""
    n = len(values)
    if n <= most:
        return list(values)
    return [values[round(place * (n - 1) / (most - 1))] for place in range(most)]


def left_out(n_shown: int, n_all: int, things: str) -> str:
    """What a heading adds where not everything is drawn; empty where it is."""
    return "" if n_shown == n_all else f", {n_shown} of {n_all} {things} drawn, all of them in the data"
