"""Figures as columns: dots in rows, lines and heat maps of the columns that an exhibit names.

Each kind of panel describes itself for screen readers from the same columns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from catalog.report.exhibits import Grid, LegendEntry, Panel, Scale, Size, distinct, english_first, some
from catalog.report.labels import Facets, facets_of, number, with_interval
from catalog.report.styles import BLACK, INK, QUIET, SeriesStyle, first_styles
from catalog.report.svg import text_width, wrapped
from catalog.results import Row

Names = tuple[str, Mapping[Any, str] | Sequence[Any]]
"""A column, and its values in order, with their names if they have other ones."""
MAX_DOTS = 40
"""Maximum number of rows of a panel of dots; they are chosen at even distances."""
_NAME, _ASIDE = 8.5, 7.5
"""Sizes of the letters of names and of texts at the right, in points."""


def start(axes: Axes, title: str, *, grid: Literal["x", "y", "both"] = "y", size: float = 9) -> None:
    """Set the title, with letters of a size, and the direction of the grid lines."""
    axes.set_title(title, color=INK, weight="bold", fontsize=size)
    axes.grid(visible=True, axis=grid)


@dataclass(frozen=True)
class Mark:
    """A column that is drawn as a point with an interval."""

    name: str
    """Name in the legend."""
    value: str
    style: SeriesStyle
    ends: str = "ci"
    """Start of the names of the columns with the ends of the interval, such as `ci` of `ci_low`; empty for none."""
    keeps_style: bool = False
    """Whether it has its style in rows that have one of their own, too."""

    def text(self, row: Row, *, signed: bool) -> str:
        """Return the value with its interval."""
        return with_interval(row[self.value], *self.interval(row), signed=signed)

    def interval(self, row: Row) -> tuple[float | None, float | None]:
        """Return the ends of the interval, as far as they are known."""
        return (row.get(f"{self.ends}_low"), row.get(f"{self.ends}_high")) if self.ends else (None, None)


@dataclass(frozen=True)
class Look:
    """How strong and how large a point is drawn."""

    alpha: float = 1.0
    """Opacity of the marker, from 0 to 1."""
    gid: str | None = None
    """Id in the SVG, such as facets."""
    size: float = 5.0
    """Size of the marker in points."""


def legend_of(marks: Sequence[Mark]) -> tuple[LegendEntry, ...]:
    """Return one entry per column."""
    return tuple(LegendEntry.of_series(mark.name, mark.style, line=False) for mark in marks)


@dataclass(frozen=True)
class Dots:
    """Dots in rows: one row per name, the first one on top, with a point and an interval for each mark."""

    name: Callable[[Row], str]
    """Name of a row; the points of rows of the same name are drawn next to each other."""
    marks: tuple[Mark, ...]
    title: str
    about: str
    """What the values are, for screen readers."""
    xlabel: str = ""
    zero: float | None = 0.0
    """Position of a vertical line."""
    is_signed: bool = True
    things: str = "rows"
    style: Callable[[Row], SeriesStyle | None] = lambda _: None
    """Style of a row's points, if it is not that of the mark."""
    look: Callable[[Row], Look] = lambda _: Look()
    aside: Callable[[Row], str] = lambda _: ""
    """Text at the right of a row."""
    finish: Callable[[Axes], object] = lambda _: None
    """Sets what is special at the end, such as limits."""
    width: float | None = None
    """Width of the panel in inches, at most half of it for names, which then have several lines; None for axes of 2.5
    inches beside names of one line."""

    def panel(self, rows: Sequence[Row], facets: Facets | None = None) -> Panel:
        """Return the panel of some rows."""
        names, note = some(list(dict.fromkeys(map(self.name, rows))), MAX_DOTS, self.things)
        shown = [row for row in rows if self.name(row) in names]
        lines = [self._lines(name) for name in names]
        left = max(0.42, 0.25 + max(text_width(line, _NAME, "normal") for line in chain(*lines)))
        right = 0.15 + max(text_width(self.aside(row), _ASIDE, "normal") for row in shown)
        size = Size(
            self.width or 2.5 + left + right,
            (0.85 if self.xlabel else 0.68) + (0.14 * max(len(self.marks), *map(len, lines)) + 0.1) * len(names),
            left=left,
            right=right,
            bottom=0.5 if self.xlabel else 0.34,
        )
        draw = partial(self._draw, rows=shown, names=names, title=self.title + note)
        return Panel(f"{self.about}{note}: {'; '.join(map(self._text, shown))}", size, draw, facets or {})

    def _text(self, row: Row) -> str:
        several = len(self.marks) > 1
        known = [mark for mark in self.marks if row[mark.value] is not None or None not in mark.interval(row)]
        texts = [f"{mark.name} " * several + mark.text(row, signed=self.is_signed) for mark in known]
        return f"{self.name(row)} {', '.join(texts)}{' ' * bool(self.aside(row))}{self.aside(row)}"

    def _lines(self, name: str) -> list[str]:
        return wrapped(name, _NAME, width=self.width / 2 - 0.25) if self.width else [name]

    def _draw(self, axes: Axes, *, rows: Sequence[Row], names: Sequence[str], title: str) -> None:
        start(axes, title, grid="x")
        axes.set_yticks(range(len(names)), ["\n".join(self._lines(name)) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(self.xlabel)
        if self.zero is not None:
            axes.axvline(self.zero, color=BLACK, linewidth=0.9, zorder=1)
        for row in rows:
            y = names.index(self.name(row))
            for index, mark in enumerate(self.marks):
                place = y + 0.34 * (index - (len(self.marks) - 1) / 2)
                style = mark.style if mark.keeps_style else self.style(row) or mark.style
                point(axes, (row[mark.value], place), mark.interval(row), style, look=self.look(row))
            edge: dict[str, Any] = {
                "transform": axes.get_yaxis_transform(),
                "va": "center",
                "fontsize": _ASIDE,
                "color": QUIET,
            }
            axes.text(1.02, y, self.aside(row), **edge)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        self.finish(axes)


def point(
    axes: Axes,
    at: tuple[Any, Any],
    ends: tuple[float | None, float | None],
    style: SeriesStyle,
    *,
    look: Look = Look(),
    is_upright: bool = False,
) -> None:
    """Draw a value and its interval, from left to right or upright; what is unknown is left out.

    Args:
        at: x and y, None where the value is unknown.
    """
    low, high = ends
    if low is not None and high is not None:
        bar, place = (axes.vlines, at[0]) if is_upright else (axes.hlines, at[1])
        bar(place, low, high, color=style.colour, alpha=0.3 + 0.7 * look.alpha, linewidth=1.4, gid=look.gid)
    if None not in at:
        options: dict[str, Any] = {"linestyle": "", "markersize": look.size, "zorder": 3, "gid": look.gid}
        axes.plot(*[[one] for one in at], **options, **style.options(look.alpha))


@dataclass(frozen=True)
class Line:
    """One line of a panel."""

    rows: Sequence[Row]
    style: SeriesStyle
    name: str = ""
    is_dashed: bool = False

    @property
    def entry(self) -> LegendEntry:
        """The entry of the legend."""
        return LegendEntry.of_series(self.name, self.style, dashed=self.is_dashed)


def first_lines(series: Sequence[Sequence[Row]], name: Callable[[Row], str]) -> list[Line]:
    """Return a line for each series, with the styles of series other than methods."""
    styles = first_styles(range(len(series)))
    return [
        Line(rows, styles[n], name(rows[0]), rows[0].get("propagation") == "dense") for n, rows in enumerate(series)
    ]


@dataclass(frozen=True)
class Lines:
    """Lines over an axis, with the intervals of their points."""

    x: str
    y: str
    title: str
    about: str
    """What the values are, for screen readers."""
    xlabel: str
    ylabel: str = ""
    ends: str = ""
    """See `Mark.ends`."""
    size: Size = field(default_factory=lambda: Size(3.9, 2.6))
    has_zero: bool = True
    """Whether the axis starts at 0."""
    finish: Callable[[Axes], object] = lambda _: None
    """Sets what is special at the end, such as a scale."""

    def panel(self, lines: Sequence[Line], facets: Facets | None = None) -> Panel:
        """Return the panel of some lines."""
        texts = []
        for line in lines:
            low, high = (end(line.rows, key=lambda row: row[self.y]) for end in (min, max))
            at = f" at {self.xlabel} {high[self.x]:g}" if isinstance(high[self.x], float | int) else ""
            texts.append(f"{line.name} from {number(low[self.y])} to {number(high[self.y])}{at}".strip())
        draw = partial(self._draw, lines=lines)
        return Panel(f"{self.about}: {'; '.join(texts)}", self.size, draw, facets or {})

    def _draw(self, axes: Axes, *, lines: Sequence[Line]) -> None:
        start(axes, self.title)
        mark = Mark("", self.y, SeriesStyle(BLACK, ""), self.ends)
        for line in lines:
            places, values = ([row[column] for row in line.rows] for column in (self.x, self.y))
            dash = "--" if line.is_dashed else "-"
            axes.plot(
                places, values, color=line.style.colour, linestyle=dash, linewidth=1.4, markersize=4.5,
                **line.style.marker_options,
            )  # fmt: skip
            for row in line.rows:
                point(axes, (row[self.x], None), mark.interval(row), line.style, is_upright=True)
        if self.has_zero:
            axes.set_ylim(0, max(row[self.y] for line in lines for row in line.rows) * 1.08 or 1.0)
        axes.set_xlabel(self.xlabel)
        axes.set_ylabel(self.ylabel)
        if all(isinstance(row[self.x], int) for line in lines for row in line.rows):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.finish(axes)


def name_ends(axes: Axes, ends: Sequence[tuple[float, float, SeriesStyle, str]]) -> Iterator[Any]:
    """Write the names of lines at their right ends, moved apart, and yield each text.

    Args:
        ends: x, y, style and name of each line; the limits of the axes are set.
    """
    step = 0.045
    place = -step
    for x, y, style, name in sorted(ends, key=lambda end: end[1]):
        height = float((axes.transScale + axes.transLimits).transform((x, y))[1])
        place = max(place + step, min(max(height, 0.0), 1.0 - step))
        look: dict[str, Any] = {"fontsize": 6.5, "va": "center", "annotation_clip": False, "color": style.colour}
        line = {"arrowstyle": "-", "color": style.colour, "linewidth": 0.5, "alpha": 0.6}
        yield axes.annotate(name, (x, y), (1.0, place), textcoords="axes fraction", arrowprops=line, **look)


@dataclass(frozen=True)
class Heat:
    """A heat map of one column, with a cell for each row that has a value and is named on both axes."""

    column: str
    down: Names
    across: Names
    title: str
    about: str
    """What the values are, for screen readers; the smallest, the largest and the mean value follow."""
    scale: Scale
    text: Callable[[Row], str] | None = None
    """Text of the cell of a row; None for the value with two decimals."""
    axes: tuple[str, str] = ("", "")
    """Names of the rows and of the columns."""

    def grid(self, rows: Sequence[Row], facets: Facets | None = None, *, row_facets: tuple[Facets, ...] = ()) -> Grid:
        """Return the heat map of some rows."""
        (down_column, down_names), (across_column, across_names) = self.down, self.across
        downs, acrosses = ({key: index for index, key in enumerate(names)} for names in (down_names, across_names))
        cells = {
            (downs[row[down_column]], acrosses[row[across_column]]): row
            for row in rows
            if row[self.column] is not None and row[down_column] in downs and row[across_column] in acrosses
        }
        shown = _texts(down_names), _texts(across_names)
        values = {place: row[self.column] for place, row in cells.items()}
        return Grid(
            title=self.title,
            label=f"{self.about}: {_summary(values, *shown, axes=self.axes)}",
            rows=shown[0],
            columns=shown[1],
            values=values,
            texts={place: self._text(row) for place, row in cells.items()},
            scale=self.scale,
            row_name=self.axes[0],
            column_name=self.axes[1],
            facets=facets or {},
            row_facets=row_facets,
        )

    def _text(self, row: Row) -> str:
        return self.text(row) if self.text else number(row[self.column], digits=2)


def _summary(
    values: Mapping[tuple[int, int], float], rows: Sequence[str], columns: Sequence[str], *, axes: tuple[str, str]
) -> str:
    """Return the smallest, the largest and the mean value, with their places, as text."""
    if not values:
        return "no values"
    (low, least), (high, most) = (
        (
            ", ".join(
                f"{axis} {name}".strip() for axis, name in zip(axes, (rows[place[0]], columns[place[1]]), strict=True)
            ),
            values[place],
        )
        for place in (min(values, key=values.__getitem__), max(values, key=values.__getitem__))
    )
    mean = number(sum(values.values()) / len(values))
    return f"from {number(least)} in {low} to {number(most)} in {high}, mean {mean}"


def _texts(names: Mapping[Any, str] | Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(str, names.values() if isinstance(names, Mapping) else names))


def half_matrix(rows: Sequence[Row], column: str, *, other: str, facets: Facets | None = None, **texts: Any) -> Grid:
    """Return a heat map of pairs of languages, the columns `language` and `other`, with one cell for each pair.

    Args:
        texts: the other fields of `Heat`.
    """
    languages = english_first(language for row in rows for language in (row["language"], row[other]))
    pairs = [sorted((row["language"], row[other]), key=languages.index) for row in rows]
    ordered = [{**row, "language": pair[1], other: pair[0]} for row, pair in zip(rows, pairs, strict=True)]
    drawn = Heat(column, down=("language", languages[1:]), across=(other, languages[:-1]), **texts)
    return drawn.grid(ordered, facets)


def block_by_layer(rows: Sequence[Row], column: str, *, title: str, about: str, scale: Scale) -> Grid:
    """Return a heat map of one column with a row per block and a column per layer; blocks count from 0."""
    drawn = Heat(
        column,
        down=("block", sorted(distinct(rows, "block"))),
        across=("layer", distinct(rows, "layer")),
        title=title,
        about=about,
        scale=scale,
        axes=("block", "layer"),
    )
    return drawn.grid(rows, facets_of(rows[0], only=("score",)))
