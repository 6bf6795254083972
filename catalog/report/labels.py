"""Labels, numbers as text, and the filters of the page.

Filters of the page: model, task, score and pair. Each element has attributes with the values to filter by.

A filter does not apply to elements without its attribute. The page shows means over the pairs until the user chooses a
pair: a mean has the attribute `data-mean`, an element of a single pair `data-detail`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape, unescape
from urllib.parse import parse_qsl, urlencode

from catalog.results import Row, Value

DIGITS = 12
"""Number of digits that the report uses: the last bits of a sum over rows may differ between two runs of a query, but
equal catalogs have to give equal pages."""
METRIC_LABELS: Mapping[str, str] = {"accuracy": "accuracy", "chrf": "chrF", "perplexity": "perplexity"}
"""Metric of a curve -> label."""
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
