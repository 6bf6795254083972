"""Filters of the page: model, task, score and pair. Each element has attributes with the values to filter by.

A filter does not apply to elements without its attribute. The page shows means over the pairs until the user chooses a
pair: a mean has the attribute `data-mean`, an element of a single pair `data-detail`.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from urllib.parse import parse_qsl, urlencode

from catalog.results import Row

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
