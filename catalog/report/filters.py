"""What the filters of the page go by: model, task, score and pair, as attributes of everything they may hide.

An element without an attribute of a filter is not touched by it. The page shows means over the pairs until somebody
chooses one: such a mean is marked `data-mean`, and what stands for one pair only `data-detail`.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape, unescape
from urllib.parse import parse_qsl, urlencode

from catalog.report.labels import Row

Facets = Mapping[str, str]
"""Filter to value; `mean` or `detail`, which are empty; and `key`, the entry of the legend that a mark belongs to."""

Chosen = Mapping[str, Sequence[str]]
"""Filter to the values that were chosen."""

FILTERS: Mapping[str, str] = {"model": "Model", "task": "Task", "score": "Score", "pair": "Pair"}
"""Name of a filter to what the page calls it."""
_COLUMNS: Mapping[str, str] = {"model": "base_model", "task": "task", "score": "score", "pair": "demonstration_label"}
SEPARATOR = "\n"
"""Between the values of a facet that has several, of which one has to be chosen."""
_OWN = "facets?"
"""What ids made here start with."""


def facets_of(row: Row, *, only: Iterable[str] = FILTERS) -> dict[str, str]:
    """What a row of a query belongs to.

    Args:
        row: the column `is_mean_over_pairs`, where there is one, says whether other rows tell the same pair by pair;
            what is about two pairs has the second one in `other_demonstration_label`.
        only: filters that are looked at.
    """
    found = {name: str(row[_COLUMNS[name]]) for name in only if row.get(_COLUMNS[name]) is not None}
    if "pair" in found and row.get("other_demonstration_label") not in (None, found["pair"]):
        found["pair"] += f"{SEPARATOR}{row['other_demonstration_label']}"
    if row.get("intervention"):
        found["score"] = str(row["intervention"])
    if "is_mean_over_pairs" in row and "pair" in only:
        found |= {"mean": ""} if row["is_mean_over_pairs"] else {"detail": ""} if "pair" in found else {}
    return found


def fits(facets: Facets, chosen: Chosen) -> bool:
    """Whether something is shown: what the page's script asks, asked here for figures that are written.

    Args:
        chosen: the values of a filter are alternatives; a filter without any lets everything pass.
    """
    pairs = chosen.get("pair", ())
    if ("mean" in facets and pairs) or ("detail" in facets and not pairs):
        return False
    return all(
        not values or name not in facets or not set(facets[name].split(SEPARATOR)).isdisjoint(values)
        for name, values in chosen.items()
    )


def attributes(facets: Facets) -> str:
    """As attributes of an element, with a blank before each; `data-off` on what is hidden before anybody filters."""
    words = [f' data-{name}="{escape(value)}"' if value else f" data-{name}" for name, value in facets.items()]
    return "".join(words) + (" data-off" if "detail" in facets else "")


def to_id(facets: Facets) -> str:
    """As the id of a mark in a figure, which `from_id` reads back; it holds no quotes."""
    return _OWN + urlencode(facets)


def from_id(text: str) -> Facets | None:
    """The facets of an id as it stands in an SVG; None of any other id."""
    if not text.startswith(_OWN):
        return None
    return dict(parse_qsl(unescape(text.removeprefix(_OWN)), keep_blank_values=True))
