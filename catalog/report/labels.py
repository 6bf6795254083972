"""How rows of the catalog are said and coloured: labels of methods, demonstration sets and tasks, numbers as text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
"""One row of a query: column to value."""

# Okabe and Ito's palette, which readers with any common colour vision can tell apart
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#8a8f98", "#1b1f24"

DIGITS = 12
"""Digits of a number that the report trusts: a sum over rows may differ in its last bits from one query to the next,
and equal catalogs have to make equal pages."""

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
    ("sparsegpt", "translation"): "#882255",
    ("sparsegpt", "monolingual"): "#661100",
}
"""(score, kind of demonstrations) to the colour it has in every figure."""

FURTHER_COLOURS: tuple[str, ...] = ("#117733", "#AA4499", "#DDAA33", "#44AA99", "#6699CC", "#CC6677", "#004488")
"""For methods with settings of their own, in the order in which a figure shows them; of many, some share one."""

METRIC_WORDS: Mapping[str, str] = {"accuracy": "accuracy", "chrf": "chrF", "perplexity": "perplexity"}
"""Metric of a curve to what it is called."""

MARKERS: Mapping[str | None, str] = {
    "translation": "o",
    "monolingual": "s",
    "code": "^",
    "mixed": "D",
    "text": "v",
    "task": "P",
    None: "X",
}
"""Kind of demonstrations to matplotlib's marker."""

_HOLLOW = ("contrast", "ria")
"""Scores whose marks are hollow, so that in grey they are told from the others on the same kind of demonstrations."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn: its colour and its marks, either of which tells it from most others."""

    colour: str
    marker: str
    is_hollow: bool = False

    @property
    def marks(self) -> dict[str, Any]:
        """What matplotlib is told of them."""
        face, edge = ("white", self.colour) if self.is_hollow else (self.colour, "white")
        width = 1.1 if self.is_hollow else 0.6
        return {"marker": self.marker, "markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": width}

    @property
    def in_legend(self) -> Mapping[str, Any]:
        """What an entry of a legend (`exhibits.Key`) is told of them."""
        return {"colour": self.colour, "marker": self.marker, "is_hollow": self.is_hollow}


def look_of(score: str | None, set_kind: str | None, *, further: int | None = None) -> Look:
    """How a method looks in every figure; the rare ones share black and are told apart by marker and legend.

    Args:
        further: place among the methods with settings of their own, which have other colours, every second one hollow.
    """
    marker = "v" if score == "magnitude" else MARKERS.get(set_kind, "X")
    if further is None:
        return Look(COLOURS.get((score or "", set_kind), BLACK), marker, is_hollow=score in _HOLLOW)
    return Look(FURTHER_COLOURS[further % len(FURTHER_COLOURS)], marker, is_hollow=further % 2 == 1)


def method_label(row: Row) -> str:
    """A method in words, as in `wanda on translation, sequential propagation`."""
    if row.get("intervention"):
        return str(row.get("settings") or row["intervention"]).replace("_", "-")
    if row["score"] is None:
        return "dense"
    return _joined(row, reads=row["set_kind"])


def variant_label(row: Row) -> str:
    """A variant in words: its method with the sets it read, and its sparsity."""
    return f"{_joined(row, reads=row['demonstration_label'])}, sparsity {row['sparsity']:.3g}"


def seeded_method(row: Row) -> str:
    """The method of a variant with the sets it read, and its seed where that is not 0."""
    said = method_label({**row, "set_kind": row["demonstration_label"]})
    return f"{said}, seed {row['seed']}" if row["seed"] else said


def _joined(row: Row, *, reads: str | None) -> str:
    """Score, what it read, and all that is not as usual; of a combination, what was combined."""
    score, settings = str(row["score"] or "").replace("_", " "), row.get("settings") or ""
    method = (
        "" if score and settings.startswith(f"{score} of ") else " on ".join(word for word in (score, reads) if word)
    )
    propagation = f"{row['propagation']} propagation" if row.get("propagation") else ""
    structure = row["structure"] if row.get("structure") not in (None, "row") else ""
    return ", ".join(word for word in (method, propagation, structure, settings) if word)


def set_label(
    kind: str, source: str | None, target: str | None, *, seed: int | None = None, profile: str | None = None
) -> str:
    """A demonstration set in few letters: `fr-en`, `fr`, `code`; a seed other than 0 follows as `fr-en s1`, and a
    profile other than corrected as `fr-en paper`."""
    label = f"{source}-{target}" if target else (source or kind)
    if kind in ("text", "task") and label != kind:
        label = f"{kind} {label}"
    if profile not in (None, "corrected"):
        label += f" {profile}"
    return f"{label} s{seed}" if seed else label


def task_label(row: Row, *, with_rule: bool = False) -> str:
    """A task as a heading: the model, the task, its split and what was unusual about it.

    Args:
        with_rule: say the scoring rule too, where there are several.
    """
    label = f"{row['base_model']} · {row['task']}, {row['split']} split"
    if with_rule:
        label += f", {row['scoring_rule']} rule"
    if row.get("example_limit"):
        label += f", {row['example_limit']} examples"
    return label


def number(value: float | None, *, signed: bool = False, digits: int = 3) -> str:
    """A value to some digits after the point with a true minus, zero without a sign; a dash for NULL and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    rounded = round(round(value, DIGITS), digits) or 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{digits}f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """A p-value to three digits after the point, `<0.001` below."""
    return "<0.001" if value is not None and value < 0.001 else number(value)


def cell(value: Any) -> str:
    """A value of a data table as text: numbers to twelve digits, NULL empty, timestamps in ISO 8601."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
