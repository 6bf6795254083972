"""Colours and markers of methods, the same in every figure of the report."""

import colorsys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import TypedDict, TypeVar

Method = TypeVar("Method", bound=Hashable)

# Okabe and Ito's palette, which readers with any common colour vision can distinguish
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#8a8f98", "#1b1f24"

COLOURS: Mapping[tuple[str, str | None], str] = {
    ("wanda", "translation"): BLUE,
    ("wanda", "monolingual"): ORANGE,
    ("wanda", "code"): PURPLE,
    ("wanda", "mixed"): GREEN,
    ("contrast", "translation"): VERMILLION,
    ("magnitude", None): SKY,
    ("random", None): GREY,
    ("ria", "translation"): "#332288",
    ("ria", "monolingual"): "#999933",
    ("flap", "translation"): "#2A9D6F",
    ("flap", "monolingual"): "#8A9A2B",
    ("sparsegpt", "translation"): "#882255",
    ("sparsegpt", "monolingual"): "#661100",
    ("wanda_plus_plus", "translation"): "#5E4FA2",
    ("wanda_plus_plus", "monolingual"): "#9E7B0A",
    ("alps", "translation"): "#8FBC3B",
    ("alps", "monolingual"): "#3D4A0A",
}
"""(score, kind of demonstrations) -> colour."""

FURTHER_COLOURS: tuple[str, ...] = ("#117733", "#AA4499", "#DDAA33", "#44AA99", "#6699CC", "#CC6677", "#004488")
"""Colours of methods with settings that are not defaults, in the order in which a figure shows them."""

MARKERS: Mapping[str | None, str] = {
    "translation": "o",
    "monolingual": "s",
    "code": "^",
    "mixed": "D",
    "text": "v",
    "task": "P",
    "generated": "*",
    None: "X",
}
"""Kind of demonstrations -> matplotlib's marker."""

_HOLLOW = ("contrast", "ria", "wanda_plus_plus")
"""Scores with hollow markers: in grey they still differ from other scores on the same kind of demonstrations."""


class MarkerOptions(TypedDict):
    """Arguments of matplotlib for markers."""

    marker: str
    markerfacecolor: str
    markeredgecolor: str
    markeredgewidth: float


@dataclass(frozen=True)
class SeriesStyle:
    """Colour and markers of a method."""

    colour: str
    marker: str
    is_hollow: bool = False

    @property
    def marker_options(self) -> MarkerOptions:
        """The markers as matplotlib's arguments."""
        face, edge = ("white", self.colour) if self.is_hollow else (self.colour, "white")
        width = 1.1 if self.is_hollow else 0.6
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}


def series_style(score: str | None, set_kind: str | None, *, further: int | None = None) -> SeriesStyle:
    """Style of a method; rare methods are black and differ in their markers and legend entries.

    Args:
        further: position among the methods with settings that are not defaults; they have other colours, and every
            second one is hollow.
    """
    marker = "v" if score == "magnitude" else MARKERS.get(set_kind, "X")
    if further is None:
        return SeriesStyle(COLOURS.get((score or "", set_kind), BLACK), marker, is_hollow=score in _HOLLOW)
    return SeriesStyle(FURTHER_COLOURS[further % len(FURTHER_COLOURS)], marker, is_hollow=further % 2 == 1)


def distinct_styles(
    styles: Mapping[Method, SeriesStyle], *, taken: Iterable[SeriesStyle] = ()
) -> dict[Method, SeriesStyle]:
    """Return the styles of a figure's methods, changed where an earlier method has the same colour, marker and fill.

    Args:
        taken: styles of other marks in the figure.
    """
    used = set(taken)
    distinct: dict[Method, SeriesStyle] = {}
    for method, style in styles.items():
        distinct[method] = next(other for other in _alternatives(style) if other not in used)
        used.add(distinct[method])
    return distinct


def _alternatives(style: SeriesStyle) -> Iterator[SeriesStyle]:
    """Yield a style, the same with the other fill, then both in ever more colours; the marker stays."""
    more = (colorsys.hls_to_rgb(number * 0.618 % 1, 0.25 + number % 3 * 0.12, 0.6) for number in count())
    made = ("#" + "".join(f"{round(255 * part):02X}" for part in colour) for colour in more)
    yield from (replace(style, is_hollow=hollow) for hollow in (style.is_hollow, not style.is_hollow))
    for colours in (FURTHER_COLOURS, made):
        for colour in colours:
            yield from (SeriesStyle(colour, style.marker, hollow) for hollow in (style.is_hollow, not style.is_hollow))
