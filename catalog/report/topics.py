"""Topics of the report: the entries of its index, and the figures and tables that are folded below each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from catalog.report.figures import FIGURES, TABLES

OF_CORE: Mapping[str, Sequence[str]] = {
    "Accuracy and sparsity": ("curves", "outside-english", "breaking", "pareto", "seeds"),
    "Languages and answers": ("sources", "pooled", "rank-consistency", "rank-matrices", "categories", "flipped"),
    "Other tasks and texts": ("translation", "perplexity", "generations"),
    "Inside the model": (
        "masks", "layers", "profiles", "schedules", "overlaps", "magnitudes", "influence",
    ),
    "Searches": (),
    "Runs, cost and code": ("item-flow", "failures", "cost", "runs", "code", "names", "store"),
}  # fmt: skip
"""Heading of a topic -> anchors of its figures and tables, without those of capabilities."""


def _with_capabilities(title: str, anchors: Sequence[str]) -> tuple[str, ...]:
    """Add the exhibits of capabilities, each below the one that it follows; if another topic has that, at the end."""
    placed = list(anchors)
    for before, exhibit in (*pairwise(FIGURES), *pairwise(TABLES)):
        if exhibit.topic == title:
            above = exhibit.below or before.anchor
            place = placed.index(above) + 1 if above in placed else len(placed)
            placed.insert(place, exhibit.anchor)
    return tuple(placed)


TOPICS: Mapping[str, Sequence[str]] = {title: _with_capabilities(title, anchors) for title, anchors in OF_CORE.items()}
"""Heading of a topic -> anchors of its figures and tables, in the order of the page."""


class Anchored(Protocol):
    """A part of the page with an id."""

    @property
    def anchor(self) -> str:
        """Id in the page."""


@dataclass(frozen=True)
class Topic:
    """A topic with the parts that have data."""

    anchor: str
    title: str
    parts: tuple[Anchored, ...]


def topics_of(parts: Sequence[Anchored]) -> tuple[Topic, ...]:
    """Return the topics that have a part, each with its parts in the order of `TOPICS`."""
    by_anchor = {part.anchor: part for part in parts}
    topics = []
    for title, anchors in TOPICS.items():
        present = tuple(by_anchor[anchor] for anchor in anchors if anchor in by_anchor)
        if present:
            topics.append(Topic("topic-" + title.split()[0].lower().rstrip(","), title, present))
    return tuple(topics)
