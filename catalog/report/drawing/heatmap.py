"""Heat maps: tables of coloured cells, as HTML in the page or drawn in a figure file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex

from catalog.report.filters import Facets

STEPS = 33
"""Number of colours of a scale."""
_EVEN = 0.179
"""Luminance with the same contrast to black and white: 1.05 / (l + 0.05) = (l + 0.05) / 0.05."""
Position = tuple[int, int]
"""Row and column of a cell, from the upper left."""


@dataclass(frozen=True)
class Scale:
    """Mapping of a range of values to colours that readers with any common colour vision can distinguish."""

    low: float
    high: float
    is_diverging: bool = False
    """Whether colours go from orange over white to purple, for changes in both directions. Otherwise: white to blue."""

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
