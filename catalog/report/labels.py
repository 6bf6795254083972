"""Labels of methods, demonstration sets and tasks, and numbers as text."""

import math
from collections.abc import Mapping
from datetime import datetime

from catalog.results import Row, Value

DIGITS = 12
"""Number of digits that the report uses: the last bits of a sum over rows may differ between two runs of a query, but
equal catalogs have to give equal pages."""

METRIC_LABELS: Mapping[str, str] = {"accuracy": "accuracy", "chrf": "chrF", "perplexity": "perplexity"}
"""Metric of a curve -> label."""


def method_label(row: Row) -> str:
    """Return the label of a method, such as `wanda on translation, sequential propagation`."""
    if row.get("intervention"):
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
