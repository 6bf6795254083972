"""What an exhibit of the report shows: panels, heat maps, examples and their legend."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex

from catalog.report.labels import Facets, facets_of
from catalog.report.styles import SeriesStyle, dark_rules
from catalog.results import Row, Value

_FOLDER = Path(__file__).parent
STEPS = 33
"""Number of colours of a scale."""
_EVEN = 0.179
"""Luminance with the same contrast to black and white: 1.05 / (l + 0.05) = (l + 0.05) / 0.05."""
Position = tuple[int, int]
"""Row and column of a cell, from the upper left."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Scale:
    """Mapping of a range of values to colours that readers with any common colour vision can distinguish."""

    low: float
    high: float
    is_diverging: bool = False
    """Whether colours go from orange over white to purple, for changes in both directions. Otherwise: white to blue."""

    @classmethod
    def from_zero(cls, values: Iterable[float], *, least: float = 0.0) -> "Scale":
        """Return the scale from 0 to the largest value, at least `least`; to 1 if there is none above 0."""
        return cls(0.0, max([least, *values]) or 1.0)

    @classmethod
    def around_zero(cls, values: Iterable[float | None], *, least: float = 0.01) -> "Scale":
        """Return the scale of changes that is as wide in both directions, at least `least`."""
        largest = max([least, *(abs(value) for value in values if value is not None)])
        return cls(-largest, largest, is_diverging=True)

    def step(self, value: float) -> int:
        """Return the index of a value's colour, from 0 at the low end."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(min(max(share, 0.0), 1.0) * (STEPS - 1))

    @property
    def letter(self) -> str:
        """First letter of its CSS classes in the page."""
        return "d" if self.is_diverging else "s"

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """The colour of each step, as `#rrggbb`."""
        colours = colormaps["PuOr" if self.is_diverging else "Blues"]
        return tuple(to_hex(colours(share)) for share in np.linspace(0, 1, STEPS))

    def ink(self, step: int) -> str:
        """Return black or white, whichever has more contrast to the colour of a step."""
        return "#000000" if luminance(self.colours[step]) > _EVEN else "#ffffff"


@dataclass(frozen=True)
class Grid:
    """One heat map."""

    title: str
    label: str
    """Summary for screen readers."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Mapping[Position, float]
    """Cells without a value are empty."""
    scale: Scale
    texts: Mapping[Position, str] = field(default_factory=dict)
    row_name: str = ""
    column_name: str = ""
    facets: Facets = field(default_factory=dict)
    row_facets: tuple[Facets, ...] = ()
    """Facets of each row, if rows can be filtered. Figure files omit rows with the facet `detail`."""

    @property
    def cells(self) -> list[tuple[Facets, str, list[tuple[str, str]]]]:
        """For each row its facets, its name, and the class and text of each cell."""
        facets = self.row_facets or ({},) * len(self.rows)
        rows = []
        for down, name in enumerate(self.rows):
            positions = [(down, across) for across in range(len(self.columns))]
            cells = [(self.classes(*position), self.texts.get(position, "")) for position in positions]
            rows.append((facets[down], name, cells))
        return rows

    def without_details(self) -> "Grid":
        """Return the heat map without the rows that the page hides initially."""
        visible = [down for down, facets in enumerate(self.row_facets) if "detail" not in facets]
        if len(visible) == len(self.row_facets):
            return self
        new_row = {down: index for index, down in enumerate(visible)}
        return replace(
            self,
            rows=tuple(self.rows[down] for down in visible),
            row_facets=tuple(self.row_facets[down] for down in visible),
            values={(new_row[down], across): value for (down, across), value in self.values.items() if down in new_row},
            texts={(new_row[down], across): text for (down, across), text in self.texts.items() if down in new_row},
        )

    def classes(self, row: int, column: int) -> str:
        """Return the CSS class of a cell; empty for an empty cell."""
        value = self.values.get((row, column))
        return "" if value is None else f"{self.scale.letter}{self.scale.step(value)}"

    @property
    def has_marks(self) -> bool:
        """Whether some numbers have a mark of significance. All cells then have the same width, to align tables."""
        return any("*" in text for text in self.texts.values())

    @property
    def has_long_columns(self) -> bool:
        """Whether the names of columns have to be rotated."""
        return max(map(len, self.columns), default=0) > 6


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`, from 0 for black to 1 for white (WCAG 2.1)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def style_rules() -> str:
    """Return the CSS rules for the classes of cells."""
    scales = (Scale(-1, 1, is_diverging=True), Scale(0, 1))
    return "\n".join(
        f"td.{scale.letter}{step} {{ background: {colour}; color: {scale.ink(step)}; }}"
        for scale in scales
        for step, colour in enumerate(scale.colours)
    )


def style_sheet() -> str:
    """Return the CSS of the page, with the rules for the cells of heat maps and the colours of figures."""
    return (_FOLDER / "page.css").read_text("utf-8").replace("{{ cell_styles }}", f"{style_rules()}\n{dark_rules()}")


def page_script() -> str:
    """Return the script of the filters. It starts by itself inside of a page, and not as a file of its own."""
    return (_FOLDER / "page.js").read_text("utf-8")


def draw_grid(axes: Axes, grid: Grid) -> None:
    """Draw coloured cells with their texts and names, the first row on top."""
    steps = np.full((len(grid.rows), len(grid.columns)), np.nan)
    for position, value in grid.values.items():
        steps[position] = grid.scale.step(value)
    axes.pcolormesh(
        np.ma.masked_invalid(steps),
        cmap=ListedColormap(grid.scale.colours),
        vmin=0,
        vmax=STEPS - 1,
        edgecolors="white",
        linewidth=0.8,
    )
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    for (down, across), text in grid.texts.items():
        ink = grid.scale.ink(int(steps[down, across]))
        axes.text(across + 0.5, down + 0.52, text, ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_yticks(np.arange(len(grid.rows)) + 0.5, grid.rows)
    rotation = 90 if grid.has_long_columns else 0
    axes.set_xticks(np.arange(len(grid.columns)) + 0.5, grid.columns, rotation=rotation)
    axes.set_xlabel(grid.column_name)
    axes.set_ylabel(grid.row_name)


@dataclass(frozen=True)
class Example:
    """One item with its answers before and after pruning."""

    change: str
    """gained or lost."""
    name: str
    """Id of the item, and its category if it has one."""
    question: str
    english: str
    """The question in English; empty if it is unknown or the evaluated language is English."""
    gold: str
    before: str
    after: str
    margins: str


@dataclass(frozen=True)
class ExampleList:
    """The examples of one language, which the page opens on demand."""

    title: str
    language: str
    """Language of the questions, for screen readers and fonts."""
    examples: tuple[Example, ...]
    facets: Facets = field(default_factory=dict)


@dataclass(frozen=True)
class TextCell:
    """A text in a table of texts."""

    text: str
    language: str = ""
    """Language of the text, for screen readers and fonts; empty for the language of the page."""
    is_same: bool = False
    """Whether it equals the output of the dense model."""


@dataclass(frozen=True)
class SideBySide:
    """Texts side by side, one item per row, which the page opens on demand."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[TextCell, ...], ...]


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
    """Matplotlib's marker, or `bar` for a swatch; empty for a plain line."""
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
    note: str = ""
    """A sentence below the heading in the page, such as how much could have been found."""
    examples: tuple[ExampleList, ...] = ()
    """Lists of examples as text, after the panels; figure files do not have them."""
    texts: tuple[SideBySide, ...] = ()
    """Tables of generated texts, after the panels; figure files do not have them."""

    @property
    def facets(self) -> Facets:
        """The model, the task and the score of the rows, as far as all of them have the same."""
        first = facets_of(self.rows[0], only=("model", "task", "score")) if self.rows else {}
        others = [facets_of(row, only=first) for row in self.rows]
        return {name: value for name, value in first.items() if all(row.get(name) == value for row in others)}


def grouped(rows: Iterable[Row], *columns: str) -> list[tuple[tuple[Value, ...], list[Row]]]:
    """Group rows by the values of some columns; groups and rows keep the order in which they first occur."""
    groups: dict[tuple[Value, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return list(groups.items())


def name_with_dtype(model: str, dtype: str | None, rows: Iterable[Row]) -> str:
    """Return the name of a model, with a dtype if rows of it have several."""
    dtypes = {row["dtype"] for row in rows if row["base_model"] == model}
    return f"{model}, {dtype}" if len(dtypes) > 1 else model


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


def some(values: Sequence[Item], limit: int, things: str) -> tuple[list[Item], str]:
    """Return at most `limit` of the values, at even distances, and a note for a heading if these are not all."""
    shown = evenly_spaced(values, limit)
    return shown, omission_note(len(shown), len(values), things)


def omission_note(n_shown: int, n_all: int, things: str) -> str:
    """Return a note for a heading if only some of the things are drawn, whose data are all below; empty if all are."""
    return "" if n_shown == n_all else f", {n_shown} of {n_all} {things} drawn"
