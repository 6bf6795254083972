"""Labels, numbers as text, colours and markers of methods, and the filters of the page.

Filters of the page: model, task, score and pair. Each element has attributes with the values to filter by.

A filter does not apply to elements without its attribute. The page shows means over the pairs until the user chooses a
pair: a mean has the attribute `data-mean`, an element of a single pair `data-detail`.
"""

import colorsys
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape, unescape
from itertools import count
from typing import TypedDict, TypeVar
from urllib.parse import parse_qsl, urlencode

from catalog.results import Row, Value

DIGITS = 12
"""Number of digits that the report uses: the last bits of a sum over rows may differ between two runs of a query, but
equal catalogs have to give equal pages."""
METRIC_LABELS: Mapping[str, str] = {"accuracy": "accuracy", "chrf": "chrF", "perplexity": "perplexity"}
"""Metric of a curve -> label."""
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
Facets = Mapping[str, str]
"""Filter -> value. Further keys: `mean` or `detail` with an empty value, and `key`, the legend entry of a mark."""
Chosen = Mapping[str, Sequence[str]]
"""Filter -> chosen values."""
FILTERS: Mapping[str, str] = {"model": "Model", "task": "Task", "score": "Score", "pair": "Pair"}
"""Name of a filter -> heading in the page."""
_COLUMNS: Mapping[str, str] = {"model": "base_model", "task": "task", "score": "score", "pair": "demonstration_label"}
SEPARATOR = "\n"
"""Separator of several values of a facet; the facet matches if one of them is chosen."""
_PREFIX = "facets?"
"""Prefix of ids that contain facets."""


def method_label(row: Row) -> str:
    """Return the label of a method, such as `wanda on translation, sequential propagation`."""
    if row["score"] is None and row.get("intervention"):
        return str(row.get("settings") or row["intervention"]).replace("_", "-")
    if row["score"] is None:
        return str(row.get("settings") or "dense")
    return _method_and_settings(row, demonstrations=row["set_kind"])


def _method_and_settings(row: Row, *, demonstrations: str | None) -> str:
    """Join the score, its demonstrations and all settings that are not defaults."""
    score, settings = str(row["score"] or "").replace("_", " "), row.get("settings") or ""
    method = (
        ""
        if score and settings.startswith(f"{score} of ")
        else " on ".join(word for word in (score, demonstrations) if word)
    )
    propagation = f"{row['propagation']} propagation" if row.get("propagation") else ""
    structure = row["structure"] if row.get("structure") not in (None, "row") else ""
    return ", ".join(word for word in (method, propagation, structure, settings) if word)


def set_label(
    kind: str, source: str | None, target: str | None, *, seed: int | None = None, profile: str | None = None
) -> str:
    """Return a short label of a demonstration set: `fr-en`, `fr`, `code`; `fr-en s1` with a seed, `fr-en paper` with a
    profile."""
    label = f"{source}-{target}" if target else (source or kind)
    if kind in ("text", "task", "generated") and label != kind:
        label = f"{kind} {label}"
    if profile not in (None, "corrected"):
        label += f" {profile}"
    return f"{label} s{seed}" if seed else label


def task_label(row: Row, *, with_rule: bool = False) -> str:
    """Return a heading for a task: the model, the task, its split, and the number of examples if it is limited.

    Args:
        with_rule: include the scoring rule.
    """
    label = f"{row['base_model']} · {row['task']}, {row['split']} split"
    if with_rule:
        label += f", {row['scoring_rule']} rule"
    if row.get("example_limit"):
        label += f", {row['example_limit']} examples"
    return label


def number(value: float | None, *, signed: bool = False, digits: int = 3) -> str:
    """Return a value with N decimals and a typographic minus; zero has no sign, NULL and NaN are a dash."""
    if value is None or not math.isfinite(value):
        return "–"
    rounded = round(round(value, DIGITS), digits) or 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def with_interval(value: float | None, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Return a value with its interval, as `value (low to high)`; the value alone if an end is NULL."""
    text = number(value, signed=signed)
    if low is None or high is None:
        return text
    return f"{text} ({number(low, signed=signed)} to {number(high, signed=signed)})"


def text_range(low: str, high: str) -> str:
    """Return two numbers as `low to high`, one if they are equal; a unit such as ` points` is written once."""
    return low if low == high else f"{low.split(maxsplit=1)[0]} to {high}"


def p_value(value: float | None) -> str:
    """Return a p-value as text with three decimals, or `<0.001`."""
    return "<0.001" if value is not None and value < 0.001 else number(value)


def cell(value: Value) -> str:
    """Return a value of a data table as text: numbers with twelve digits, NULL empty, timestamps in ISO 8601."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


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


def facets_of(row: Row, *, only: Iterable[str] = FILTERS) -> dict[str, str]:
    """Return the facets of a row.

    Args:
        row: a row of a query. If it has a column `is_mean_over_pairs`, true means that other rows have the values of
            single pairs. A row about two pairs has the second one in `other_demonstration_label`.
        only: filters to include.
    """
    facets = {name: str(row[_COLUMNS[name]]) for name in only if row.get(_COLUMNS[name]) is not None}
    if "pair" in facets and row.get("other_demonstration_label") not in (None, facets["pair"]):
        facets["pair"] += f"{SEPARATOR}{row['other_demonstration_label']}"
    if row.get("intervention"):
        facets["score"] = str(row["intervention"])
    if "is_mean_over_pairs" in row and "pair" in only:
        facets |= {"mean": ""} if row["is_mean_over_pairs"] else {"detail": ""} if "pair" in facets else {}
    return facets


def matches_filters(facets: Facets, chosen: Chosen) -> bool:
    """Whether an exported figure shows an element. The script of the page applies the same rule.

    Args:
        chosen: the values of a filter are alternatives; a filter without values matches everything.
    """
    pairs = chosen.get("pair", ())
    if ("mean" in facets and pairs) or ("detail" in facets and not pairs):
        return False
    return all(
        not values or name not in facets or not set(facets[name].split(SEPARATOR)).isdisjoint(values)
        for name, values in chosen.items()
    )


def attributes(facets: Facets) -> str:
    """Return facets as attributes of an element, each after a blank; `data-off` hides it at first."""
    parts = [f' data-{name}="{escape(value)}"' if value else f" data-{name}" for name, value in facets.items()]
    return "".join(parts) + (" data-off" if "detail" in facets else "")


def to_id(facets: Facets) -> str:
    """Return facets as the id of a mark in a figure, without quotes; `from_id` is the inverse."""
    return _PREFIX + urlencode(facets)


def from_id(text: str) -> Facets | None:
    """Return the facets of an id in an SVG; None for any other id."""
    if not text.startswith(_PREFIX):
        return None
    return dict(parse_qsl(unescape(text.removeprefix(_PREFIX)), keep_blank_values=True))
