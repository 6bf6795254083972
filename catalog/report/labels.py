"""How rows of the catalog are said and coloured: labels of methods, demonstration sets and tasks, numbers as text."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]
"""One row of a query: column to value."""

DIGITS = 12
"""Digits of a number that the report trusts: a sum over rows may differ in its last bits from one query to the next,
and equal catalogs have to make equal pages."""

METRIC_WORDS: Mapping[str, str] = {"accuracy": "accuracy", "chrf": "chrF", "perplexity": "perplexity"}
"""Metric of a curve to what it is called."""


def method_label(row: Row) -> str:
    """A method in words, as in `wanda on translation, sequential propagation`."""
    if row.get("intervention"):
        return str(row.get("settings") or row["intervention"]).replace("_", "-")
    if row["score"] is None:
        return "dense"
    return _joined(row, reads=row["set_kind"])


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
