"""One style for each method: colour, shape and short name, the same in every figure of a store.

The hues are near those of Okabe and Ito, which readers with any common colour vision can distinguish. They differ in
lightness too, and have a contrast of 3 to the background. Each has a lighter one for dark pages.
"""

import colorsys
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, product
from typing import Any, TypedDict, TypeVar

from matplotlib.colors import to_rgba

from catalog.results import Row

BLUE, ORANGE, GREEN, VERMILLION = "#0B5FB8", "#CB800A", "#0E5844", "#983500"
PURPLE, SKY, GREY, BLACK = "#D96A92", "#6089C9", "#80858E", "#1B1F24"
INK, QUIET, GRID, WHITE = "#24292F", "#6B7280", "#E5E7EB", "#FFFFFF"
HUES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
"""Colours of marks, in the order in which figures use them; grey and black have meanings."""
DARK: Mapping[str, str] = {
    **dict(zip(HUES, ("#4A95F5", "#ED9B22", "#37C590", "#B891D0", "#C8F0FB", "#DB5445"), strict=True)),
    GREY: "#9AA0AA",
    BLACK: "#FFFFFF",
    INK: "#E6E8EB",
    QUIET: "#A3ACB7",
    GRID: "#333A43",
    WHITE: "#1C2026",
}
"""Colour of a figure -> colour of the same thing on a dark page."""
SHAPES: Mapping[str, str] = {
    "o": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "s": "M-4-4h8v8h-8z",
    "^": "M0-5L5 4H-5z",
    "D": "M0-5L5 0L0 5L-5 0z",
    "v": "M0 5L5-4H-5z",
    "P": "M-1.7-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
    "*": "M0-6L1.5-1.7H6L2.4 1L3.7 5.4L0 2.8L-3.7 5.4L-2.4 1L-6-1.7H-1.5z",
    "X": "M-3.5-5L0-1.5L3.5-5L5-3.5L1.5 0L5 3.5L3.5 5L0 1.5L-3.5 5L-5 3.5L-1.5 0L-5-3.5z",
    ".": "M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z",
}
"""Marker of matplotlib -> path of SVG around the origin."""
_OPEN = "os^Dv"
"""Shapes that are also drawn hollow."""
_OF_SCORES = {"magnitude": (SKY, "v"), "random": (GREY, "X")}
_OF_KINDS: Mapping[str | None, tuple[str, str]] = {
    "translation": (BLUE, "o"),
    "monolingual": (ORANGE, "s"),
    "code": (PURPLE, "^"),
    "mixed": (GREEN, "D"),
    "text": (VERMILLION, "v"),
    "task": (SKY, "P"),
    "generated": (VERMILLION, "*"),
    None: (VERMILLION, "P"),
}
"""Kind of demonstrations -> colour and marker of a method that reads them, if no other has them."""
KINDS = tuple(_OF_KINDS)
METHOD = ("score", "set_kind", "propagation", "structure", "settings")
"""Columns whose values are a method."""
MAX_IN_LEGEND = 7
"""Largest number of methods that a legend explains; more are named where they are drawn."""
_NUMBER = re.compile(r"[\d.]+")
Key = TypeVar("Key", bound=Hashable)


class MarkerOptions(TypedDict):
    """Arguments of matplotlib for markers."""

    marker: str
    markerfacecolor: Any
    markeredgecolor: Any
    markeredgewidth: float


@dataclass(frozen=True)
class SeriesStyle:
    """Colour and marker of a method."""

    colour: str
    marker: str
    is_hollow: bool = False
    name: str = field(default="", compare=False)
    """Short name of the method: what distinguishes it from the others of its store."""

    @property
    def face(self) -> str:
        """Colour inside of the marker."""
        return WHITE if self.is_hollow else self.colour

    @property
    def marker_options(self) -> MarkerOptions:
        """The marker as matplotlib's arguments."""
        return self.options()

    def options(self, alpha: float = 1.0) -> MarkerOptions:
        """Return the marker as matplotlib's arguments, more or less pale."""
        colour = to_rgba(self.colour, alpha)
        face, edge = (WHITE, colour) if self.is_hollow else (colour, WHITE if alpha == 1.0 else "none")
        width = 1.1 if self.is_hollow else 0.6
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}


DENSE = SeriesStyle(BLACK, "*", name="dense")
SeriesStyles = Mapping[tuple[Any, ...], SeriesStyle]
"""Method (the values of `METHOD`) -> style."""


def on_page(colour: str) -> str:
    """Return a colour for CSS, which changes on a dark page if the colour has another one there."""
    return f"var(--m{colour[1:].lower()},{colour.lower()})" if colour.upper() in DARK else colour


def dark_rules() -> str:
    """Return the CSS rules with the colours of figures on a dark page. A print has the light ones."""
    colours = " ".join(f"--m{colour[1:].lower()}: {dark};" for colour, dark in DARK.items())
    return f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {colours} }} }}"


def first_styles(keys: Iterable[Key]) -> dict[Key, SeriesStyle]:
    """Return the styles of series other than methods, such as languages, in the order in which figures use them."""
    return distinct_styles({key: SeriesStyle(HUES[n % len(HUES)], _OPEN[n % 5]) for n, key in enumerate(keys)})


def distinct_styles(wanted: Mapping[Key, SeriesStyle], *, keep_colours: bool = False) -> dict[Key, SeriesStyle]:
    """Return the wanted styles, changed where an earlier key has the same one: hollow, or in a colour of few others.

    Args:
        keep_colours: change the shape and not the colour, as long as a shape is free.
    """
    used: Counter[str] = Counter()
    styles: dict[Key, SeriesStyle] = {}
    taken: set[SeriesStyle] = set()
    for key, style in wanted.items():
        chosen = style if style not in taken else _free(style, taken, used, keeps_colour=keep_colours)
        styles[key] = replace(chosen, name=style.name)
        taken.add(chosen)
        used[chosen.colour] += 1
    return styles


def _free(style: SeriesStyle, taken: set[SeriesStyle], used: Mapping[str, int], *, keeps_colour: bool) -> SeriesStyle:
    """Return a style like another one that is not taken."""
    hollow = replace(style, is_hollow=True)
    if style.marker in _OPEN and hollow not in taken:
        return hollow
    shapes = [style.marker, *(shape for shape in SHAPES if shape not in (style.marker, ".", "X"))]
    marks = [(shape, False) for shape in shapes] + [(shape, True) for shape in shapes if shape in _OPEN]
    hues = sorted(HUES, key=lambda hue: used[hue])
    own = (SeriesStyle(style.colour, *mark) for mark in marks if keeps_colour)
    free = chain(own, (SeriesStyle(hue, *mark) for mark, hue in product(marks, hues)))
    more = (SeriesStyle(colour, *mark) for colour in _more_colours() for mark in marks)
    return next((one for one in free if one not in taken), None) or next(one for one in more if one not in taken)


def _more_colours() -> Iterator[str]:
    """Yield ever more dark colours, for figures with more methods than there are hues and shapes."""
    for number in count():
        colour = colorsys.hls_to_rgb(number * 0.618 % 1, 0.25 + number % 3 * 0.08, 0.6)
        yield "#" + "".join(f"{round(255 * part):02X}" for part in colour)


def _home(method: Sequence[Any]) -> tuple[str, str]:
    score, kind = method[:2]
    return _OF_SCORES.get(score) or _OF_KINDS.get(kind, _OF_KINDS[None])


def method_styles(rows: Iterable[Row]) -> SeriesStyles:
    """Return the style of each method of rows, in their order: that of the store, or of these rows without a store.

    Of the methods of a store, those without settings choose first, and of two propagations the sequential one.
    """
    known = {tuple(row[column] for column in METHOD): row for row in rows}
    if all("style" in row for row in known.values()):
        return {method: row["style"] for method, row in known.items()}
    names = short_names(list(known.values()))
    first = sorted(known, key=lambda method: (method[4] is not None, method[2] == "dense"))
    wanted = {method: SeriesStyle(*_home(method), name=names[list(known).index(method)]) for method in first}
    styles = distinct_styles(wanted)
    return {method: styles[method] for method in known}


def method_label(row: Row) -> str:
    """Return the label of a method, such as `wanda on translation, sequential propagation`."""
    return ", ".join(_parts(row))


def _parts(row: Row) -> list[str]:
    """Return the score with its demonstrations, and all settings that are not defaults."""
    settings = str(row.get("settings") or "")
    if row["score"] is None:
        text = settings or str(row.get("intervention") or "dense")
        return (text.replace("_", "-") if row.get("intervention") else text).split(", ")
    score = str(row["score"]).replace("_", " ")
    says_score = settings.startswith(f"{score} of ")
    method = "" if says_score else " on ".join(word for word in (score, row["set_kind"]) if word)
    propagation = f"{row['propagation']} propagation" if row.get("propagation") else ""
    structure = row["structure"] if row.get("structure") not in (None, "row") else ""
    return [word for word in (method, propagation, structure, *settings.split(", ")) if word]


def short_names(rows: Sequence[Row], *, with_sets: bool = False) -> list[str]:
    """Return the labels of methods without what does not distinguish them.

    That is dense propagation, a setting of all methods that read demonstrations, and a number that has a single value,
    unless two methods would then have the same name.

    Args:
        with_sets: name the demonstrations, such as `wanda fr-en`, instead of their kind; rows have the text of their
            method too, which is its name if two would have the same one.
    """
    sets = [str(row["demonstration_label"] or "") if with_sets else "" for row in rows]
    parts = [
        [str(row["score"]).replace("_", " "), label, *_parts({**row, "set_kind": None})[1:]]
        if label and row["score"]
        else _parts(row)
        for row, label in zip(rows, sets, strict=True)
    ]
    reading = [words for row, words in zip(rows, parts, strict=True) if row.get("propagation")]
    of_all = [word for word in (reading[0][1:] if len(reading) > 1 else ()) if all(word in words for words in reading)]
    numbers = Counter(_NUMBER.sub("", word) for word in {word for words in parts for word in words[1:]})
    single = [word for words in parts for word in words[1:] if numbers[_NUMBER.sub("", word)] == 1]
    for word in dict.fromkeys(["dense propagation", *of_all, *filter(_NUMBER.search, single)]):
        shorter = [[one for one in words if one != word] for words in parts]
        if all(shorter) and len(set(map(tuple, shorter))) == len(shorter):
            parts = shorter
    names = [
        ", ".join([" ".join(words[:2]), *words[2:]] if label and label in words[1:2] else words)
        for words, label in zip(parts, sets, strict=True)
    ]
    return names if len(set(names)) == len(names) or not with_sets else [str(row["method"]) for row in rows]
