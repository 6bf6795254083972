"""How rows of the catalog are said and coloured: labels of methods, demonstration sets and tasks, numbers as text."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]

# Okabe and Ito's palette, which readers with any common colour vision can tell apart
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
}
"""(score, kind of demonstrations) to the colour it has in every figure."""

MARKERS: Mapping[str | None, str] = {"translation": "o", "monolingual": "s", "code": "^", "mixed": "D", None: "X"}
"""Kind of demonstrations to matplotlib's marker."""


def colour_of(score: str | None, demonstrations: str | None) -> str:
    """Colour of a method; the rare ones share black and are told apart by marker and legend."""
    return COLOURS.get((score or "", demonstrations), BLACK)


def method_label(row: Row) -> str:
    """A method in words, as in `wanda on translation demonstrations, sequential`."""
    if row.get("intervention"):
        return str(row["intervention"]).replace("_", " ")
    if row["score"] is None:
        return "dense"
    label = str(row["score"])
    if row["demonstrations"]:
        label += f" on {row['demonstrations']} demonstrations"
    if row.get("propagation"):
        label += f", {row['propagation']}"
    if row.get("structure") not in (None, "row"):
        label += f", {row['structure']}"
    return label


def set_label(kind: str, source: str | None, target: str | None, *, seed: int | None = None) -> str:
    """A demonstration set in few letters: `fr-en`, `fr`, `code`; a seed other than 0 follows as `fr-en s1`."""
    label = f"{source}-{target}" if target else (source or kind)
    return f"{label} s{seed}" if seed else label


def task_label(row: Row) -> str:
    """A task as a heading: its name, split and what was unusual about it."""
    label = f"{row['task']}, {row['split']} split"
    if row.get("example_limit"):
        label += f", {row['example_limit']} examples"
    return label


def number(value: float | None, *, signed: bool = False) -> str:
    """A value to three digits after the point with a true minus; nothing for NULL and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:+.3f}".replace("-", "−") if signed else f"{value:.3f}".replace("-", "−")


def cell(value: Any) -> str:
    """A value of a data table as text: numbers in full, NULL empty, timestamps in ISO 8601."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
